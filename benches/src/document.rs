//! The messages: small ones, real documents and incompressible ones, of any size.

use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What every message is: stamped, so that none equals another and delays can be told.
#[derive(Debug, Deserialize)]
struct Document<B> {
    id: u64,
    sent_ns: u64,
    #[expect(dead_code, reason = "decoding it is the point")]
    body: B,
}

/// What is made of a text that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is decoded into its type.
    Typed,
    /// Nothing: the text is what was asked for.
    Text,
}

/// The stamps of a message.
pub(crate) struct Stamps {
    pub(crate) is_last: bool,
    /// How long after the epoch of its template it was sent.
    pub(crate) sent_ns: u64,
}

/// Of 16 digits, as all stamps are.
const BASE: u64 = 1_000_000_000_000_000;
/// The id of the last message of a writer.
const LAST: u64 = BASE - 1;

impl Stamps {
    pub(crate) fn read<B: Body>(text: &str, reading: Reading) -> Self {
        let (id, sent_ns) = match reading {
            Reading::Typed => {
                let document: Document<B> = serde_json::from_str(text).expect("as it was sent");
                (document.id, document.sent_ns)
            }
            Reading::Text => {
                let number = |first| text[first..first + 16].parse().expect("as it was sent");
                (number(ID_AT), number(SENT_AT))
            }
        };
        Self { is_last: id == BASE + LAST, sent_ns: sent_ns - BASE }
    }
}

/// A JSON text whose stamps can be set.
#[derive(Clone)]
pub(crate) struct Template {
    text: String,
    epoch: Instant,
}

const ID: &str = r#"{"id":"#;
const SENT: &str = r#","sent_ns":"#;
const BODY: &str = r#","body":"#;
const ID_AT: usize = ID.len();
const SENT_AT: usize = ID_AT + 16 + SENT.len();

impl Template {
    fn new(body: &str) -> Self {
        let text = format!("{ID}{BASE}{SENT}{BASE}{BODY}{body}}}");
        Self { text, epoch: Instant::now() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Nanoseconds since stamps count.
    pub(crate) fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Message `id`, sent now.
    pub(crate) fn stamped(&self, id: u64) -> String {
        let mut text = self.text.clone();
        text.replace_range(ID_AT..ID_AT + 16, &(BASE + id).to_string());
        text.replace_range(SENT_AT..SENT_AT + 16, &(BASE + self.now_ns()).to_string());
        text
    }

    /// What ends a writer.
    pub(crate) fn last(&self) -> String {
        self.stamped(LAST)
    }
}

/// A kind of body that texts of any size can be made of.
pub(crate) trait Body: DeserializeOwned + Send + 'static {
    /// What it is called in the names of scenarios.
    const NAME: &'static str;

    /// The body that makes a message of about this many bytes.
    fn text(bytes: usize) -> String;

    fn template(bytes: usize) -> Template {
        let stamps = Template::new("").bytes();
        Template::new(&Self::text(bytes.saturating_sub(stamps)))
    }
}

/// An order, with a note as long as need be.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "decoding it is the point")]
pub(crate) struct Order {
    status: String,
    total: f64,
    note: String,
}

impl Body for Order {
    const NAME: &'static str = "order";

    fn text(bytes: usize) -> String {
        let order = |note: &str| format!(r#"{{"status":"paid","total":12.50,"note":"{note}"}}"#);
        let words = "please leave it with the neighbours at number seven, they know; ";
        let room = bytes.saturating_sub(order("").len());
        order(&words.repeat(room / words.len() + 1)[..room])
    }
}

/// A language of ISO 639-3, as Debian's iso-codes has them.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "decoding it is the point")]
pub(crate) struct Language {
    alpha_3: String,
    name: String,
    scope: String,
    r#type: String,
    inverted_name: Option<String>,
    common_name: Option<String>,
    alpha_2: Option<String>,
    bibliographic: Option<String>,
}

impl Body for Vec<Language> {
    const NAME: &'static str = "real document";

    /// The records of the document, compact; from the first again where they do not suffice.
    fn text(bytes: usize) -> String {
        const DOCUMENT: &str = "/usr/share/iso-codes/json/iso_639-3.json";
        let text = std::fs::read_to_string(DOCUMENT).expect("`make setup` installs iso-codes");
        let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let records = document["639-3"].as_array().expect("it holds records").iter().cycle();
        let mut body = String::from("[");
        for record in records {
            let record = record.to_string();
            if body.len() + record.len() + 1 > bytes && body.len() > 1 {
                break;
            }
            if body.len() > 1 {
                body.push(',');
            }
            body += &record;
        }
        body + "]"
    }
}

/// Something in base64 that was compressed before, such as pictures.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "decoding it is the point")]
pub(crate) struct Picture {
    base64: String,
}

impl Body for Picture {
    const NAME: &'static str = "incompressible";

    fn text(bytes: usize) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = fastrand::Rng::with_seed(639);
        let room = bytes.saturating_sub(r#"{"base64":""}"#.len());
        let base64: String = (0..room).map(|_| DIGITS[random.usize(..64)] as char).collect();
        format!(r#"{{"base64":"{base64}"}}"#)
    }
}
