//! What is exported: the groups and columns that the options mean, and the tables that they make.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use tidegate_config::nearest;
use tidegate_export::Table;
use tidegate_model::{Column, Name, Stream, StreamId, TagName, Timestamp};
use tidegate_store::{Query, Recorded, Version};

use super::format::FileFormat;

/// What the options ask for, as they are written.
pub(super) struct Wanted<'a> {
    pub(super) device: &'a str,
    pub(super) group: Option<&'a str>,
    pub(super) tags: &'a [String],
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

/// What to read and the tables that it fills.
pub(super) struct Plan {
    pub(super) query: Query,
    /// In the order in which their rows come.
    pub(super) tables: Vec<Table>,
    /// Which table the rows of a stream are for.
    pub(super) table_of: BTreeMap<StreamId, usize>,
}

impl Plan {
    /// Finds what is wanted among what has been recorded.
    pub(super) fn new(
        wanted: &Wanted,
        recorded: &[Recorded],
        format: FileFormat,
        gateway: &Name,
    ) -> anyhow::Result<Plan> {
        let of_device = device(wanted, recorded)?;
        let of_group = group(wanted, of_device)?;
        let tags = tags(wanted, &of_group)?;
        let mut plan = Plan {
            query: Query {
                group: wanted.group.and_then(|group| group.parse().ok()),
                tags: tags.clone(),
                from: wanted.from,
                to: wanted.to,
                ..Query::of(wanted.device.parse()?)
            },
            tables: Vec::new(),
            table_of: BTreeMap::new(),
        };
        for recorded in of_group {
            let versions = recorded.versions.iter().filter(|version| wanted.may_have(version));
            plan.add(gateway, versions, &tags, format)?;
        }
        Ok(plan)
    }

    /// The tables of one group. Columns that come and go stay in one table as long as the format can hold them.
    fn add<'a>(
        &mut self,
        gateway: &Name,
        versions: impl Iterator<Item = &'a Version>,
        tags: &[TagName],
        format: FileFormat,
    ) -> anyhow::Result<()> {
        let mut tables: Vec<(&Stream, Vec<Column>)> = Vec::new();
        for stream in versions.map(|version| &version.stream) {
            let new = selected(stream.columns(), tags);
            if new.is_empty() {
                continue;
            }
            match tables.last_mut().filter(|(_, columns)| !format.is_typed() || fit(columns, &new)) {
                Some((_, columns)) => {
                    let names: BTreeSet<TagName> = columns.iter().map(|column| column.name.clone()).collect();
                    columns.extend(new.into_iter().filter(|column| !names.contains(&column.name)));
                }
                None => tables.push((stream, new)),
            }
            self.table_of.insert(stream.id(), self.tables.len() + tables.len() - 1);
        }
        for (stream, mut columns) in tables {
            let rank = |column: &Column| tags.iter().position(|tag| *tag == column.name);
            columns.sort_by_key(rank);
            let (device, group) = (stream.device().clone(), stream.group().clone());
            self.tables.push(Table::new(Some(gateway.clone()), device, group, columns)?);
        }
        Ok(())
    }

    /// The groups that rows can come of.
    pub(super) fn groups(&self) -> BTreeSet<&Name> {
        self.tables.iter().map(Table::group).collect()
    }
}

impl Wanted<'_> {
    /// Whether rows of a version can be in the range.
    fn may_have(&self, version: &Version) -> bool {
        let (Some(first), Some(last)) = (version.first, version.last) else { return false };
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first < to)
    }
}

/// The columns with these tags; all when there is none.
fn selected(columns: &[Column], tags: &[TagName]) -> Vec<Column> {
    columns.iter().filter(|column| tags.is_empty() || tags.contains(&column.name)).cloned().collect()
}

/// Whether no tag has two types.
fn fit(columns: &[Column], new: &[Column]) -> bool {
    let differs = |column: &Column| {
        columns.iter().any(|known| known.name == column.name && known.value_type != column.value_type)
    };
    !new.iter().any(differs)
}

fn device<'a>(wanted: &Wanted, recorded: &'a [Recorded]) -> anyhow::Result<Vec<&'a Recorded>> {
    let found: Vec<&Recorded> = recorded.iter().filter(|group| group.device.as_str() == wanted.device).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known: BTreeSet<&str> = recorded.iter().map(|group| group.device.as_str()).collect();
    bail!("nothing has been recorded of a device \"{}\"; {}", wanted.device, hint(wanted.device, &known));
}

fn group<'a>(wanted: &Wanted, recorded: Vec<&'a Recorded>) -> anyhow::Result<Vec<&'a Recorded>> {
    let Some(name) = wanted.group else { return Ok(recorded) };
    let known: BTreeSet<&str> = recorded.iter().map(|group| group.group.as_str()).collect();
    let found: Vec<&Recorded> = recorded.into_iter().filter(|group| group.group.as_str() == name).collect();
    if found.is_empty() {
        bail!("nothing has been recorded of a group \"{name}\" of {}; {}", wanted.device, hint(name, &known));
    }
    Ok(found)
}

fn tags(wanted: &Wanted, recorded: &[&Recorded]) -> anyhow::Result<Vec<TagName>> {
    let versions = recorded.iter().flat_map(|group| &group.versions);
    let columns = versions.flat_map(|version| version.stream.columns());
    let known: BTreeMap<&str, &TagName> = columns.map(|column| (column.name.as_str(), &column.name)).collect();
    let find = |tag: &String| match known.get(tag.as_str()) {
        Some(name) => Ok((*name).clone()),
        None => {
            let known = known.keys().copied().collect();
            bail!("nothing has been recorded of a tag \"{tag}\" of {}; {}", wanted.device, hint(tag, &known))
        }
    };
    wanted.tags.iter().map(find).collect()
}

/// The most names that are listed one by one.
const LISTED: usize = 12;

/// What may have been meant.
fn hint(word: &str, known: &BTreeSet<&str>) -> String {
    if let Some(near) = nearest(word, known.iter().copied()) {
        return format!("did you mean \"{near}\"?");
    }
    let listed: Vec<&str> = known.iter().copied().take(LISTED).collect();
    match known.len().saturating_sub(LISTED) {
        0 if listed.is_empty() => "nothing has been recorded yet".to_owned(),
        0 => format!("there is {}", listed.join(", ")),
        more => format!("there is {} and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_model::{ValueKind, ValueType};

    use super::*;

    fn version(id: u32, group: &str, columns: &[(&str, ValueKind)]) -> Version {
        let columns = columns.iter().map(|(name, kind)| Column::new(name.parse().unwrap(), ValueType::single(*kind)));
        let columns: Vec<Column> = columns.collect();
        let stream = Stream::new(StreamId(id), "meter".parse().unwrap(), group.parse().unwrap(), columns);
        let time = |seconds: u32| Some(Timestamp::from_millis(i64::from(seconds) * 1000));
        Version { stream: Arc::new(stream), first: time(id * 10), last: time(id * 10 + 9) }
    }

    fn recorded() -> Vec<Recorded> {
        let fast = vec![
            version(1, "fast", &[("a", ValueKind::F32), ("b", ValueKind::Int)]),
            version(2, "fast", &[("c", ValueKind::Bool), ("a", ValueKind::F32)]),
            version(3, "fast", &[("a", ValueKind::F64)]),
        ];
        let slow = vec![version(4, "slow", &[("d", ValueKind::Text)])];
        let group = |name: &str, versions| Recorded {
            device: "meter".parse().unwrap(),
            group: name.parse().unwrap(),
            versions,
        };
        vec![group("fast", fast), group("slow", slow)]
    }

    fn plan(group: Option<&str>, tags: &[&str], format: FileFormat) -> anyhow::Result<Plan> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let wanted = Wanted { device: "meter", group, tags: &tags, from: None, to: None };
        Plan::new(&wanted, &recorded(), format, &"line3".parse()?)
    }

    fn names(table: &Table) -> Vec<&str> {
        table.columns().iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn columns_that_come_and_go_are_one_table_until_a_type_changes() {
        let csv = plan(Some("fast"), &[], FileFormat::Csv).unwrap();
        assert_eq!(csv.tables.iter().map(names).collect::<Vec<_>>(), [["a", "b", "c"]]);
        let parquet = plan(Some("fast"), &[], FileFormat::Parquet).unwrap();
        assert_eq!(parquet.tables.iter().map(names).collect::<Vec<_>>(), [vec!["a", "b", "c"], vec!["a"]]);
        assert_eq!(
            parquet.table_of.into_iter().collect::<Vec<_>>(),
            [1, 2, 3].map(StreamId).into_iter().zip([0, 0, 1]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn tags_stand_in_the_order_in_which_they_are_named_and_choose_their_groups() {
        let both = plan(None, &["c", "a"], FileFormat::Csv).unwrap();
        assert_eq!(both.tables.iter().map(names).collect::<Vec<_>>(), [["c", "a"]]);
        assert_eq!(plan(None, &[], FileFormat::Csv).unwrap().groups().len(), 2);
        assert_eq!(plan(None, &["d"], FileFormat::Csv).unwrap().groups().len(), 1);
    }

    #[test]
    fn only_what_was_recorded_in_the_range_makes_a_table() {
        let wanted = |from, to| Wanted {
            device: "meter",
            group: None,
            tags: &[],
            from: Some(Timestamp::from_millis(from)),
            to: Some(Timestamp::from_millis(to)),
        };
        let plan =
            |from, to| Plan::new(&wanted(from, to), &recorded(), FileFormat::Csv, &"line3".parse().unwrap()).unwrap();
        assert_eq!(plan(20_000, 30_000).table_of.into_keys().collect::<Vec<_>>(), [StreamId(2)]);
        assert!(plan(50_000, 60_000).tables.is_empty());
    }

    #[test]
    fn a_name_that_nothing_has_is_answered_with_the_nearest() {
        let said = |group, tags: &[&str]| plan(group, tags, FileFormat::Csv).err().map(|error| error.to_string());
        assert!(said(Some("fats"), &[]).is_some_and(|said| said.ends_with("did you mean \"fast\"?")));
        assert!(said(Some("fast"), &["d"]).is_some_and(|said| said.contains("no")));
        let wanted = Wanted { device: "mter", group: None, tags: &[], from: None, to: None };
        let error = Plan::new(&wanted, &recorded(), FileFormat::Csv, &"line3".parse().unwrap()).err().unwrap();
        assert!(error.to_string().ends_with("did you mean \"meter\"?"), "{error}");
    }
}
