//! Channels of which there is news, as a set of bits.

use crate::channel::Channel;

/// 4,096 bits; two channels with one bit only cost needless work.
pub(crate) const WORDS: usize = 64;

/// A bit a channel, by the hash of its name.
#[derive(PartialEq, Eq)]
pub(crate) struct News(pub(crate) [u64; WORDS]);

impl News {
    /// Perhaps of every channel.
    pub(crate) const ALL: Self = Self([u64::MAX; WORDS]);

    pub(crate) fn of(channels: &[Channel]) -> Self {
        let mut news = Self([0; WORDS]);
        for (word, bit) in channels.iter().map(place) {
            news.0[word] |= bit;
        }
        news
    }

    pub(crate) fn is_of(&self, channel: &Channel) -> bool {
        let (word, bit) = place(channel);
        self.0[word] & bit != 0
    }
}

/// Word and bit.
fn place(channel: &Channel) -> (usize, u64) {
    let hash = channel.hash();
    ((hash >> 6) as usize % WORDS, 1 << (hash % 64))
}
