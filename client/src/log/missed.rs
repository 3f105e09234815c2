//! What was lost before a reader came to it.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use super::position::Since;
use super::queries;
use super::reader::{Place, Reader, Source};
use crate::{Error, Gap};

/// How often a replay asks the server what it has missed.
const ASK_EVERY: Duration = Duration::from_secs(2);

impl Reader {
    /// The gap to report before what is read next; counted from `place`, which is moved past it.
    pub(super) async fn missed(
        &self,
        client: &Client,
        place: &mut Place,
    ) -> Result<Option<Gap>, Error> {
        match &self.source {
            Source::Consumer(_) => {
                let skipped = self.lease.borrow().as_ref().map_or(0, |lease| lease.skipped);
                let news = skipped - place.told;
                place.told = place.told.max(skipped);
                Ok((news > 0).then(|| Gap::Expired { skipped: news.unsigned_abs() }))
            }
            Source::Replay(since) => {
                if place.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
                    return Ok(None);
                }
                place.asked = Some(Instant::now());
                self.missed_by_replay(client, since, place).await
            }
        }
    }

    async fn missed_by_replay(
        &self,
        client: &Client,
        since: &Since,
        place: &mut Place,
    ) -> Result<Option<Gap>, Error> {
        let missed = queries::missed(client, &self.channel, &place.position).await?;
        if missed.restarted {
            // The transactions that the position names may have been undone, and be others now.
            place.position = match place.newest {
                Some(id) => queries::start_after(client, &self.channel, id).await?,
                None => queries::start(client, &self.channel, since).await?,
            };
            place.end = None;
        }
        place.position.mark = missed.mark;
        Ok(if missed.restarted {
            Some(Gap::Restarted)
        } else if missed.skipped > 0 {
            Some(Gap::Expired { skipped: missed.skipped.unsigned_abs() })
        } else {
            None
        })
    }
}
