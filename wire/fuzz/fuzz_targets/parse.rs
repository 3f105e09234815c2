//! Parsing never panics, and what parses displays back identically.
#![no_main]

use libfuzzer_sys::fuzz_target;
use notify_json_wire::parse;
use notify_json_wire_fuzz::Source;

fuzz_target!(|source: Source<'_>| {
    for payload in source.payloads() {
        if let Ok(parsed) = parse(&payload) {
            assert_eq!(parsed.to_string(), payload);
        }
    }
});
