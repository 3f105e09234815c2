//! `notify-json schema check`, `set`, `show` and `export`

mod asyncapi;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use notify_json_client::{Contract, Incompatible, check_compatible};
use serde_json::Value;
use tokio_postgres::types::Type;

use crate::connection::Connection;
use crate::manage::{Parameter, query};
use crate::output::complain;

/// Contracts: the JSON Schemas that the events of a channel must meet.
#[derive(Args)]
pub(crate) struct Schema {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether a schema may follow the one that a channel has; exits with 1 if not.
    ///
    /// It may if it accepts all that the channel's describes; any may where the channel has none yet, if
    /// it is a JSON Schema, which `set` finds out.
    Check {
        channel: String,
        /// File of the schema; `-` is standard input.
        file: String,
    },
    /// Make a schema the contract of a channel, which is created if it does not exist.
    Set {
        channel: String,
        /// File of the schema; `-` is standard input.
        file: String,
        /// Also if it may not follow the one that the channel has.
        #[arg(long)]
        force: bool,
        /// Create the channel live, not durable.
        #[arg(long)]
        live: bool,
    },
    /// Print the schema of a channel as it was registered.
    Show { channel: String },
    /// Print an AsyncAPI 3.0 document of all channels that have a policy, as JSON.
    Export {
        /// Title of the document.
        #[arg(long, default_value = "Events")]
        title: String,
        /// Version of the document.
        #[arg(long = "document-version", default_value = "1.0.0")]
        version: String,
    },
}

impl Schema {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match &self.command {
            Command::Check { channel, file } => {
                let new = read(file)?;
                let Some(old) = self.current(channel).await? else {
                    return Ok(ExitCode::SUCCESS);
                };
                let old = serde_json::from_str(&old).context("the channel's schema")?;
                match check_compatible(&old, &new) {
                    Ok(()) => Ok(ExitCode::SUCCESS),
                    Err(incompatible) => Ok(refused(&incompatible)),
                }
            }
            Command::Set { channel, file, force, live } => {
                let mut contract = Contract::from_schema(read(file)?);
                if *force {
                    contract = contract.force();
                }
                if *live {
                    contract = contract.live();
                }
                let (client, connection) =
                    notify_json_client::connect(self.connection.string()).await?;
                let connection = tokio::spawn(connection);
                contract.register(&client, channel).await?;
                drop(client);
                connection.await??;
                Ok(ExitCode::SUCCESS)
            }
            Command::Show { channel } => match self.current(channel).await? {
                Some(schema) => {
                    writeln!(io::stdout(), "{schema}")?;
                    Ok(ExitCode::SUCCESS)
                }
                None => bail!("channel {channel:?} has no contract"),
            },
            Command::Export { title, version } => {
                let rows = query(&self.connection, asyncapi::CHANNELS, &[]).await?;
                let document = asyncapi::document(title, version, &rows)?;
                let mut out = io::stdout().lock();
                serde_json::to_writer_pretty(&mut out, &document).map_err(io::Error::from)?;
                writeln!(out)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// The schema of a channel, if it has one.
    async fn current(&self, channel: &str) -> Result<Option<String>> {
        let sql = "SELECT schema::text FROM notify_json.contracts WHERE channel = $1";
        let channel: Parameter<'_> = (&channel, Type::TEXT);
        let rows = query(&self.connection, sql, &[channel]).await?;
        rows.first().map(|row| row.try_get(0)).transpose().context("a schema is text")
    }
}

fn refused(incompatible: &Incompatible) -> ExitCode {
    complain(format_args!("{incompatible}"));
    ExitCode::FAILURE
}

fn read(file: &str) -> Result<Value> {
    let mut text = String::new();
    match file {
        "-" => io::stdin().read_to_string(&mut text).context("cannot read standard input")?,
        file => {
            text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
            text.len()
        }
    };
    serde_json::from_str(&text).with_context(|| format!("{file} is not JSON"))
}
