//! Which addresses of a table a device has, which of them can be written, and which tags lie there.

use std::ops::Range;

use super::operation::{Exception, Stretch};

/// What of a table can be read besides the tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Nothing: every address without a tag is illegal.
    Tags,
    /// The gaps between tags that the profile allows to read along (`max_gap`, `max_coil_gap`); they hold 0.
    #[default]
    Gaps,
    /// Every address from 0 to 65535; those without a tag hold 0.
    Everything,
}

/// A tag's place in its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Addresses.
    pub(crate) span: Range<u32>,
    /// Index of the cell.
    pub(crate) cell: usize,
    /// Whether it may be written.
    pub(crate) writable: bool,
}

/// One table of a profile.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By first address.
    placed: Box<[Placed]>,
    /// Addresses of the longest tag: how far before a stretch a tag can begin that reaches into it.
    longest: u32,
    /// By address: how many addresses from there on can be read without a hole.
    readable: Box<[u16]>,
    /// By address: how many addresses from there on can be written without a hole.
    writable: Box<[u16]>,
}

/// Addresses of a table.
const ALL: u32 = 65_536;

impl Layout {
    /// The table with these tags; gaps of at most `max_gap` addresses between them are filled as `fill` says.
    pub(crate) fn new(mut placed: Vec<Placed>, fill: Fill, max_gap: u16) -> Layout {
        placed.sort_by_key(|placed| (placed.span.start, placed.span.end));
        let end = placed.iter().map(|placed| placed.span.end).max().unwrap_or(0);
        let mut readable: Vec<Range<u32>> = Vec::new();
        for span in placed.iter().map(|placed| placed.span.clone()) {
            match readable.last_mut() {
                Some(last) if fill == Fill::Gaps && span.start <= last.end + u32::from(max_gap) => {
                    last.end = last.end.max(span.end);
                }
                _ => readable.push(span),
            }
        }
        if fill == Fill::Everything {
            readable = std::iter::once(0..ALL).collect();
        }
        let writable = placed.iter().filter(|placed| placed.writable).map(|placed| placed.span.clone());
        Layout {
            longest: placed.iter().map(|placed| placed.span.end - placed.span.start).max().unwrap_or(0),
            writable: runs(writable, end),
            readable: runs(readable, if fill == Fill::Everything { ALL } else { end }),
            placed: placed.into(),
        }
    }

    /// Addresses that the table needs room for.
    pub(crate) fn size(&self) -> usize {
        self.readable.len()
    }

    /// Whether all addresses of the stretch can be read.
    pub(crate) fn check_readable(&self, stretch: Stretch) -> Result<(), Exception> {
        check(&self.readable, stretch)
    }

    /// Whether all addresses of the stretch can be written.
    pub(crate) fn check_writable(&self, stretch: Stretch) -> Result<(), Exception> {
        check(&self.writable, stretch)
    }

    /// The tags that lie wholly or in part in the stretch.
    pub(crate) fn tags(&self, stretch: Stretch) -> impl Iterator<Item = &Placed> {
        let first = u32::from(stretch.first);
        let begin = self.placed.partition_point(|placed| placed.span.start + self.longest <= first);
        let from = self.placed.get(begin..).unwrap_or_default().iter();
        from.take_while(move |placed| placed.span.start < stretch.end()).filter(move |placed| placed.span.end > first)
    }
}

/// By address: how many addresses from there on lie in one of the spans without a hole; at most 65535.
fn runs(spans: impl IntoIterator<Item = Range<u32>>, end: u32) -> Box<[u16]> {
    let mut inside = vec![false; usize::try_from(end).unwrap_or_default()];
    for span in spans {
        let span = span.filter_map(|address| usize::try_from(address).ok());
        for address in span {
            if let Some(inside) = inside.get_mut(address) {
                *inside = true;
            }
        }
    }
    let mut run = 0_u16;
    let mut runs: Vec<u16> = inside
        .iter()
        .rev()
        .map(|inside| {
            run = if *inside { run.saturating_add(1) } else { 0 };
            run
        })
        .collect();
    runs.reverse();
    runs.into()
}

fn check(runs: &[u16], stretch: Stretch) -> Result<(), Exception> {
    match runs.get(usize::from(stretch.first)) {
        Some(run) if *run >= stretch.count => Ok(()),
        _ => Err(Exception::IllegalAddress),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_driver_modbus::PrimaryTable;

    use super::*;

    fn stretch(first: u16, count: u16) -> Stretch {
        Stretch { table: PrimaryTable::Holding, first, count }
    }

    fn layout(fill: Fill) -> Layout {
        let tag = |cell, span, writable| Placed { span, cell, writable };
        Layout::new(vec![tag(0, 10..12, false), tag(1, 12..16, true), tag(2, 20..22, false)], fill, 4)
    }

    #[test]
    fn without_a_filling_only_the_tags_can_be_read() {
        let layout = layout(Fill::Tags);
        assert_eq!(layout.check_readable(stretch(10, 6)), Ok(()));
        for (first, count) in [(9, 1), (9, 3), (10, 7), (16, 1), (22, 1), (65_535, 1)] {
            assert_eq!(layout.check_readable(stretch(first, count)), Err(Exception::IllegalAddress), "{first}");
        }
    }

    #[test]
    fn a_gap_that_the_profile_allows_can_be_read_along() {
        let layout = layout(Fill::Gaps);
        assert_eq!(layout.check_readable(stretch(10, 12)), Ok(()));
        assert_eq!(layout.check_readable(stretch(10, 13)), Err(Exception::IllegalAddress));
        assert_eq!(layout.check_readable(stretch(9, 2)), Err(Exception::IllegalAddress));
    }

    #[test]
    fn everything_reaches_to_the_last_address_and_not_behind() {
        let layout = layout(Fill::Everything);
        assert_eq!(layout.check_readable(stretch(0, 125)), Ok(()));
        assert_eq!(layout.check_readable(stretch(65_535, 1)), Ok(()));
        assert_eq!(layout.check_readable(stretch(65_535, 2)), Err(Exception::IllegalAddress));
    }

    #[test]
    fn only_writable_tags_can_be_written() {
        for fill in [Fill::Tags, Fill::Gaps, Fill::Everything] {
            let layout = layout(fill);
            assert_eq!(layout.check_writable(stretch(12, 4)), Ok(()));
            assert_eq!(layout.check_writable(stretch(11, 2)), Err(Exception::IllegalAddress));
            assert_eq!(layout.check_writable(stretch(16, 1)), Err(Exception::IllegalAddress));
        }
    }

    #[test]
    fn a_tag_that_reaches_into_the_stretch_is_found() {
        let layout = layout(Fill::Gaps);
        let found = |first, count| layout.tags(stretch(first, count)).map(|placed| placed.cell).collect::<Vec<_>>();
        assert_eq!(found(0, 65_535), [0, 1, 2]);
        assert_eq!(found(15, 1), [1]);
        assert_eq!(found(11, 2), [0, 1]);
        assert_eq!(found(16, 4), Vec::<usize>::new());
        assert_eq!(found(21, 1), [2]);
    }
}
