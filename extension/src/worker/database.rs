//! The databases of the server, as its launcher sees them, which is connected to none.

use std::ffi::{CStr, CString};
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{LOCKTAG, LockTagType, Oid};

pub(super) struct Database {
    pub(super) oid: Oid,
    pub(super) name: CString,
    pub(super) is_open: bool,
}

/// `datconnlimit` of a database whose DROP DATABASE was interrupted.
const INVALID: i32 = -2;

pub(super) fn all() -> Vec<Database> {
    in_transaction(|| {
        let mut databases = Vec::new();
        // SAFETY: the catalog is open to the end of the scan; tuples live until the next one, and
        // begin with the fields of the struct.
        unsafe {
            let lock = pg_sys::AccessShareLock as i32;
            let catalog = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
            let scan =
                pg_sys::systable_beginscan(catalog, Oid::INVALID, false, null_mut(), 0, null_mut());
            while let Some(tuple) = pg_sys::systable_getnext(scan).as_ref() {
                let fields = tuple.t_data.byte_add((*tuple.t_data).t_hoff.into());
                let fields = &*fields.cast::<pg_sys::FormData_pg_database>();
                databases.push(Database {
                    oid: fields.oid,
                    name: CStr::from_ptr(fields.datname.data.as_ptr()).to_owned(),
                    is_open: fields.datallowconn && fields.datconnlimit != INVALID,
                });
            }
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(catalog, lock);
        }
        databases
    })
}

impl Database {
    /// Whether a statement such as DROP DATABASE holds it, for which a new worker would wait.
    pub(super) fn is_locked(&self) -> bool {
        let tag = LOCKTAG {
            locktag_field1: 0,
            locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
            locktag_field3: self.oid.to_u32(),
            locktag_field4: 0,
            locktag_type: LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        in_transaction(|| {
            // SAFETY: the tag outlives the call. The lock is that of every session that connects,
            // and goes with the transaction.
            let lock =
                unsafe { pg_sys::LockAcquire(&tag, pg_sys::RowExclusiveLock as i32, false, true) };
            lock == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
        })
    }
}

fn in_transaction<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the launcher is connected and in no transaction. An error ends it.
    unsafe {
        pg_sys::StartTransactionCommand();
        let result = work();
        pg_sys::CommitTransactionCommand();
        result
    }
}
