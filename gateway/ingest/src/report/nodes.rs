//! What `--verify` says of the edge nodes of Sparkplug B.

use serde_json::{Value as Json, json};
use tidegate_model::Timestamp;

use super::StreamReport;
use crate::{NodeAccount, NodeKey, sparkplug};

/// What the ledger says of one edge node.
#[derive(Debug)]
pub struct NodeReport {
    /// The node.
    pub key: NodeKey,
    /// What was seen of it.
    pub account: NodeAccount,
    /// Its devices of which there are rows, the node itself included.
    pub devices: u64,
    /// Rows of all of them that have been written.
    pub rows: u64,
    /// Values that came again, of those the ones that were found in the sink included.
    pub duplicates: u64,
    /// The times of the earliest and the latest row, in Unix milliseconds.
    pub times: Option<(i64, i64)>,
}

impl NodeReport {
    /// What an account and the streams of its devices say.
    pub(super) fn new(key: NodeKey, account: NodeAccount, streams: &[StreamReport]) -> NodeReport {
        let mut report = NodeReport { devices: 0, rows: 0, duplicates: account.repeated, times: None, key, account };
        let own = |stream: &&StreamReport| sparkplug::is_of(&stream.key, &report.key);
        let own: Vec<&StreamReport> = streams.iter().filter(own).collect();
        for stream in own {
            report.devices += 1;
            report.rows = report.rows.saturating_add(stream.rows);
            report.duplicates = report.duplicates.saturating_add(stream.duplicates);
            let joined = |(first, last): (i64, i64), (a, b): (i64, i64)| (first.min(a), last.max(b));
            report.times = match (report.times, stream.times) {
                (Some(times), Some(more)) => Some(joined(times, more)),
                (times, more) => times.or(more),
            };
        }
        report
    }

    /// Whether nothing is missing that is known to have been sent.
    pub(super) fn is_whole(&self) -> bool {
        self.account.missing == 0 && self.account.dropped == 0
    }

    fn cells(&self) -> [String; 10] {
        let time =
            |time: Option<i64>| time.map_or("-".to_owned(), |time| Timestamp::from_millis(time).rfc3339().to_string());
        [
            format!("{}/{}", self.key.group, self.key.node),
            time(self.times.map(|(first, _)| first)),
            time(self.times.map(|(_, last)| last)),
            self.devices.to_string(),
            self.rows.to_string(),
            self.account.holes.to_string(),
            self.account.missing.to_string(),
            self.account.births.to_string(),
            self.account.asked.to_string(),
            self.duplicates.to_string(),
        ]
    }

    fn details(&self) -> Vec<String> {
        let NodeAccount { unread, dropped, interruptions, .. } = self.account;
        let lines = [
            (dropped, "values were dropped, as too much waited for the sink"),
            (unread, "messages and values that no birth had told of, or beyond what is taken"),
            (interruptions, "times it was not heard, as the connection of the ingest was lost"),
        ];
        lines.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// What it says as JSON.
    pub(super) fn json(&self) -> Json {
        let NodeAccount { births, asked, holes, missing, unread, dropped, interruptions, .. } = self.account;
        json!({
            "group": self.key.group, "node": self.key.node, "devices": self.devices, "rows": self.rows,
            "first_ts": self.times.map(|(first, _)| first), "last_ts": self.times.map(|(_, last)| last),
            "holes": holes, "missing": missing, "births": births, "asked": asked, "duplicates": self.duplicates,
            "unread": unread, "dropped": dropped, "interruptions": interruptions,
        })
    }
}

/// The nodes as text for a person, a line each.
pub(super) fn table(nodes: &[NodeReport]) -> String {
    let titles = ["edge node", "first", "last", "devices", "rows", "holes", "missing", "births", "asked", "duplicates"];
    let mut lines = vec![(titles.map(str::to_owned), Vec::new())];
    lines.extend(nodes.iter().map(|node| (node.cells(), node.details())));
    super::table(&lines, 3)
}

/// What is added to the sentence about all of it.
pub(super) fn verdict(nodes: &[NodeReport]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let sum = |of: fn(&NodeAccount) -> u64| nodes.iter().map(|node| of(&node.account)).fold(0, u64::saturating_add);
    let (missing, dropped) = (sum(|account| account.missing), sum(|account| account.dropped));
    let missing = match missing {
        0 => "no messages missing between others".to_owned(),
        missing => format!("{missing} messages are missing"),
    };
    let dropped = if dropped > 0 { format!(", {dropped} values were dropped") } else { String::new() };
    format!("; {} edge nodes, {missing}{dropped}", nodes.len())
}

#[cfg(test)]
mod tests {
    use crate::{Account, NodeAccount, NodeKey, Report, StreamKey, ledger::Arrival, report::StreamReport, sparkplug};

    fn stream(device: &str, rows: u64) -> StreamReport {
        let [gateway, device, group] = ["line3", device, "plant"].map(|name| name.parse().unwrap());
        let mut account = Account { duplicates: 1, ..Account::default() };
        account.deliver(Arrival { first_seq: 1, last_seq: rows, boot: 5 }, Some((1000, 2000)));
        StreamReport::new(StreamKey { gateway, device, group, store: sparkplug::NUMBERED_HERE }, &account)
    }

    fn report(account: NodeAccount) -> Report {
        let key = NodeKey { group: "plant".to_owned(), node: "line3".to_owned() };
        Report::new(vec![stream("oven", 4), stream("_node", 1)], [(key, account)].into(), 0)
    }

    #[test]
    fn a_person_sees_what_is_known_of_an_edge_node() {
        let account = NodeAccount { births: 3, asked: 1, holes: 1, missing: 2, repeated: 7, ..NodeAccount::default() };
        let text = report(account).text();
        let lines: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "edge node    first                     last                      devices  rows  holes  missing  births  asked  duplicates",
                "plant/line3  1970-01-01T00:00:01.000Z  1970-01-01T00:00:02.000Z        2     5      1        2       3      1           9",
                "2 streams, no holes; 1 edge nodes, 2 messages are missing",
            ],
            "{text}"
        );
        assert!(!report(account).is_whole());
    }

    #[test]
    fn what_was_not_heard_is_told_and_is_no_hole() {
        let account = NodeAccount { births: 2, unread: 4, interruptions: 1, ..NodeAccount::default() };
        let report = report(account);
        assert!(report.is_whole());
        let text = report.text();
        assert!(text.contains("\n    1 times it was not heard, as the connection of the ingest was lost\n"), "{text}");
        assert_eq!(report.json()["nodes"][0]["unread"], 4);
        assert!(!super::super::nodes::verdict(&report.nodes).contains("are missing"));
    }
}
