//! `notify-json publish`

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use notify_json_client::publish_json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};
use tokio_postgres::Client;

use crate::connection::Connection;

/// Send JSON to the listeners of a channel.
///
/// The text is sent byte for byte. The database needs the extension: CREATE EXTENSION notify_json.
#[derive(Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    connection: Connection,
    /// Channel to send to.
    channel: String,
    /// JSON text to send; `-` or nothing reads one whole document from standard input.
    #[arg(allow_negative_numbers = true)]
    json: Option<String>,
    /// Read standard input as one message a line, each sent as it is read. Empty lines are passed
    /// over.
    #[arg(long)]
    lines: bool,
}

impl Publish {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        if self.lines && self.json.as_deref().is_some_and(|json| json != "-") {
            let text = "--lines reads messages from standard input, but a JSON text is given";
            crate::Arguments::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
        let (client, connection) = notify_json_client::connect(self.connection.string()).await?;
        let connection = tokio::spawn(connection);
        match self.json.as_deref() {
            None | Some("-") if self.lines => self.send_lines(&client).await?,
            None | Some("-") => {
                let mut json = String::new();
                stdin().read_to_string(&mut json).await.context("cannot read standard input")?;
                self.send(&client, &json).await?;
            }
            Some(json) => self.send(&client, json).await?,
        }
        drop(client);
        connection.await??;
        Ok(ExitCode::SUCCESS)
    }

    async fn send_lines(&self, client: &Client) -> Result<()> {
        let mut lines = BufReader::new(stdin()).lines();
        let mut number = 0_u64;
        let mut sent = 0_u64;
        while let Some(line) = lines.next_line().await.context("cannot read standard input")? {
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            self.send(client, &line)
                .await
                .with_context(|| format!("line {number}, after {sent} messages sent"))?;
            sent += 1;
        }
        Ok(())
    }

    async fn send(&self, client: &Client, json: &str) -> Result<()> {
        publish_json(client, &self.channel, json).await?;
        Ok(())
    }
}
