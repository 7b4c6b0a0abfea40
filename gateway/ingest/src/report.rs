//! What `--verify` says: per stream what has arrived, what is missing, and what was declared not to come. Pure.

mod nodes;

use serde_json::{Value as Json, json};

pub use self::nodes::NodeReport;
use crate::{Account, Ranges, StreamKey, nodes::Nodes, sparkplug::NUMBERED_THERE};

/// Ranges of one kind that are printed for a stream; the rest is told as a number. JSON has all of them.
const PRINTED: usize = 20;

/// What a ledger says.
#[derive(Debug, Default)]
pub struct Report {
    /// The streams, in the order of gateway, device, group and store.
    pub streams: Vec<StreamReport>,
    /// The edge nodes of Sparkplug B, in the order of group and id.
    pub nodes: Vec<NodeReport>,
    /// Blocks that were put aside because they could not be read.
    pub quarantined: u64,
}

/// What the ledger says of one stream.
#[derive(Debug)]
pub struct StreamReport {
    /// The stream.
    pub key: StreamKey,
    /// The first and the last number that arrived or was declared; `None` when there is none.
    pub span: Option<(u64, u64)>,
    /// Rows that have been written.
    pub rows: u64,
    /// Rows that came again and were dropped.
    pub duplicates: u64,
    /// Rows that came under numbers which another start of the gateway had given to others. They were put aside.
    pub numbered_again: u64,
    /// How often the gateway had started, by the latest word.
    pub boot: u64,
    /// The times of the earliest and the latest row, in Unix milliseconds.
    pub times: Option<(i64, i64)>,
    /// Numbers between the first and the last that have neither arrived nor been declared.
    pub holes: Ranges,
    /// What was declared not to come and has not come: first number, last number, reason.
    pub gaps: Vec<(u64, u64, String)>,
}

impl StreamReport {
    /// What an account says.
    pub(crate) fn new(key: StreamKey, account: &Account) -> StreamReport {
        // Rows of these numbers do not come here: what lies between two gaps is not missing.
        let holes = if key.store == NUMBERED_THERE { Ranges::default() } else { account.holes() };
        let declared = account.declared();
        let mut known = account.delivered.clone();
        known.extend(&declared);
        let mut gaps = Vec::new();
        for (reason, given) in &account.gaps {
            gaps.extend(given.without(&account.delivered).iter().map(|(first, last)| (first, last, reason.clone())));
        }
        gaps.sort();
        StreamReport {
            key,
            span: known.first().zip(known.last()),
            rows: account.rows,
            duplicates: account.duplicates,
            numbered_again: account.numbered_again,
            boot: account.boot,
            times: account.first_time.zip(account.last_time),
            holes,
            gaps,
        }
    }
}

impl Report {
    /// What a ledger with these streams says.
    pub(crate) fn new(streams: Vec<StreamReport>, nodes: Nodes, quarantined: u64) -> Report {
        let nodes = nodes.into_iter().map(|(key, account)| NodeReport::new(key, account, &streams)).collect();
        Report { streams, nodes, quarantined }
    }

    /// Whether nothing is missing that is known to have been sent: no row of a stream, no message and no value of an edge node.
    pub fn is_whole(&self) -> bool {
        self.missing() == 0 && self.nodes.iter().all(NodeReport::is_whole)
    }

    /// Rows that are missing without a word, of all streams.
    pub fn missing(&self) -> u64 {
        self.streams.iter().map(|stream| stream.holes.count()).fold(0, u64::saturating_add)
    }

    /// The report as text for a person: a line a stream, below it its holes and gaps, and a last line with the verdict.
    pub fn text(&self) -> String {
        let titles = ["gateway", "device", "group", "store", "first", "last", "rows", "holes", "gaps", "duplicates"];
        let mut lines = vec![(titles.map(str::to_owned), Vec::new())];
        lines.extend(self.streams.iter().map(|stream| (stream.cells(), stream.details())));
        let mut text = table(&lines, 4);
        if !self.nodes.is_empty() {
            text.push_str(&nodes::table(&self.nodes));
        }
        text.push_str(&self.verdict());
        text.push('\n');
        text
    }

    /// One sentence about all of it.
    pub fn verdict(&self) -> String {
        let with_holes = self.streams.iter().filter(|stream| !stream.holes.is_empty()).count();
        let quarantined = match self.quarantined {
            0 => String::new(),
            count => format!("; {count} blocks are in the quarantine"),
        };
        let again = self.streams.iter().map(|stream| stream.numbered_again).fold(0, u64::saturating_add);
        let quarantined = match again {
            0 => quarantined,
            rows => format!(
                "{quarantined}; {rows} rows are there that were numbered again, the stores of gateways were set back"
            ),
        };
        let nodes = nodes::verdict(&self.nodes);
        match with_holes {
            0 => format!("{} streams, no holes{nodes}{quarantined}", self.streams.len()),
            _ => format!(
                "{} streams, {with_holes} of them with holes: {} rows are missing without a word{nodes}{quarantined}",
                self.streams.len(),
                self.missing()
            ),
        }
    }

    /// The report as JSON.
    pub fn json(&self) -> Json {
        let streams: Vec<Json> = self.streams.iter().map(StreamReport::json).collect();
        let nodes: Vec<Json> = self.nodes.iter().map(NodeReport::json).collect();
        json!({ "streams": streams, "nodes": nodes, "missing": self.missing(), "quarantined": self.quarantined })
    }
}

/// Lines of cells below each other, each with what is said below it: the first cells to the left, the numbers behind them to the right.
fn table<const CELLS: usize>(lines: &[([String; CELLS], Vec<String>)], names: usize) -> String {
    let mut widths = [0_usize; CELLS];
    for (cells, _) in lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (cells, details) in lines {
        let cells = cells.iter().zip(widths).enumerate().map(|(place, (cell, width))| match place < names {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        for detail in details {
            text.push_str("    ");
            text.push_str(detail);
            text.push('\n');
        }
    }
    text
}

impl StreamReport {
    fn cells(&self) -> [String; 10] {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let StreamKey { gateway, device, group, store } = &self.key;
        let gaps = self.gaps.iter().map(|(first, last, _)| last.saturating_sub(*first).saturating_add(1));
        [
            gateway.to_string(),
            device.to_string(),
            group.to_string(),
            store.to_string(),
            number(self.span.map(|(first, _)| first)),
            number(self.span.map(|(_, last)| last)),
            self.rows.to_string(),
            self.holes.count().to_string(),
            gaps.fold(0, u64::saturating_add).to_string(),
            self.duplicates.to_string(),
        ]
    }

    fn details(&self) -> Vec<String> {
        let rows = |first: u64, last: u64| match last.saturating_sub(first).saturating_add(1) {
            1 => "1 row".to_owned(),
            count => format!("{count} rows"),
        };
        let holes = self.holes.iter().map(|(first, last)| format!("hole {first} to {last}: {}", rows(first, last)));
        let gaps = self
            .gaps
            .iter()
            .map(|(first, last, reason)| format!("gap {first} to {last}: {}, {reason}", rows(*first, *last)));
        let more = |kind: &str, count: usize| {
            count.checked_sub(PRINTED).filter(|more| *more > 0).map(|more| format!("… and {more} {kind} more"))
        };
        let again = (self.numbered_again > 0).then(|| {
            let rows = self.numbered_again;
            format!("numbered again: {rows} rows have numbers of other rows, as the gateway's store was set back; see the quarantine")
        });
        let mut lines: Vec<String> = again.into_iter().chain(holes.take(PRINTED)).collect();
        lines.extend(more("holes", self.holes.parts()));
        lines.extend(gaps.take(PRINTED));
        lines.extend(more("gaps", self.gaps.len()));
        lines
    }

    fn json(&self) -> Json {
        let holes: Vec<[u64; 2]> = self.holes.iter().map(|(first, last)| [first, last]).collect();
        let gap = |(first, last, reason): &(u64, u64, String)| json!({ "from": first, "to": last, "reason": reason });
        let gaps: Vec<Json> = self.gaps.iter().map(gap).collect();
        json!({
            "gateway": self.key.gateway.as_str(), "device": self.key.device.as_str(), "group": self.key.group.as_str(),
            "store": self.key.store.to_string(), "boot": self.boot, "first": self.span.map(|(first, _)| first),
            "last": self.span.map(|(_, last)| last), "rows": self.rows, "duplicates": self.duplicates,
            "numbered_again": self.numbered_again,
            "first_ts": self.times.map(|(first, _)| first), "last_ts": self.times.map(|(_, last)| last),
            "holes": holes, "gaps": gaps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Arrival, tests::key};

    fn report() -> Report {
        let mut account = Account::default();
        let mut deliver = |first_seq, last_seq| {
            account.deliver(Arrival { first_seq, last_seq, boot: 2 }, Some((1000, 2000)));
        };
        deliver(1, 10);
        deliver(12, 20);
        deliver(31, 40);
        deliver(31, 33);
        account.declare(Arrival { first_seq: 18, last_seq: 30, boot: 2 }, "too_old");
        let whole = Account { delivered: [(5, 9)].into_iter().collect(), rows: 5, ..Account::default() };
        Report {
            streams: vec![
                StreamReport::new(key("meter-1"), &account),
                StreamReport::new(key("oven"), &whole),
                StreamReport::new(key("silent"), &Account::default()),
            ],
            quarantined: 1,
            nodes: Vec::new(),
        }
    }

    #[test]
    fn a_person_sees_what_is_missing_and_why() {
        assert_eq!(
            report().text(),
            "gateway  device   group  store             first  last  rows  holes  gaps  duplicates\n\
             line3    meter-1  fast   0000000000000007      1    40    29      1    10           3\n\
             \x20   hole 11 to 11: 1 row\n\
             \x20   gap 21 to 30: 10 rows, too_old\n\
             line3    oven     fast   0000000000000007      5     9     5      0     0           0\n\
             line3    silent   fast   0000000000000007      -     -     0      0     0           0\n\
             3 streams, 1 of them with holes: 1 rows are missing without a word; 1 blocks are in the quarantine\n"
        );
    }

    #[test]
    fn a_program_gets_all_ranges() {
        let json = report().json();
        assert_eq!(json["missing"], 1);
        assert_eq!(json["streams"][0]["holes"], json!([[11, 11]]));
        assert_eq!(json["streams"][0]["gaps"], json!([{ "from": 21, "to": 30, "reason": "too_old" }]));
        assert_eq!(json["streams"][0]["first_ts"], 1000);
        assert_eq!(json["streams"][2]["first"], Json::Null);
    }

    #[test]
    fn rows_that_were_numbered_again_are_told() {
        let mut account = Account::default();
        account.deliver(Arrival { first_seq: 1, last_seq: 10, boot: 2 }, None);
        account.deliver(Arrival { first_seq: 9, last_seq: 12, boot: 3 }, None);
        let report =
            Report { streams: vec![StreamReport::new(key("a"), &account)], quarantined: 1, ..Report::default() };
        assert!(report.text().contains("    numbered again: 2 rows"), "{}", report.text());
        assert!(
            report
                .verdict()
                .ends_with("2 rows are there that were numbered again, the stores of gateways were set back")
        );
        assert_eq!(report.json()["streams"][0]["numbered_again"], 2);
    }

    #[test]
    fn many_holes_are_told_by_their_number() {
        let mut account = Account::default();
        (0..40).for_each(|at| drop(account.deliver(Arrival { first_seq: at * 2, last_seq: at * 2, boot: 1 }, None)));
        let text = Report { streams: vec![StreamReport::new(key("a"), &account)], ..Report::default() }.text();
        assert!(text.contains("… and 19 holes more"), "{text}");
    }
}
