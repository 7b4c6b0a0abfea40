//! Filters level by level, so that looking a topic up costs as much as it has levels, and not as there are filters.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
};

use super::Wish;
use crate::session::Session;

/// A level of filters, and what is below it. Nobody puts more levels in than a topic may have, at most 200.
#[derive(Debug, Default)]
pub(super) struct Node {
    below: HashMap<Box<str>, Node>,
    /// Subscriptions whose filter ends here.
    pub(super) here: Vec<Subscription>,
    /// Groups of shared subscriptions whose filter ends here.
    pub(super) groups: Vec<Group>,
}

/// A client's subscription.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) session: Arc<Session>,
    pub(super) wish: Wish,
}

/// The clients that share a filter under one name.
#[derive(Debug)]
pub(super) struct Group {
    /// As it was subscribed to: `$share/<group>/<filter>`.
    pub(super) whole: Arc<str>,
    pub(super) members: Vec<Subscription>,
    /// Whose turn it is.
    pub(super) turn: Arc<AtomicUsize>,
}

impl Node {
    /// The place of a filter, made if there is none.
    pub(super) fn place(&mut self, filter: &str) -> &mut Node {
        filter.split('/').fold(self, |node, level| {
            if !node.below.contains_key(level) {
                node.below.insert(level.into(), Node::default());
            }
            node.below.entry(level.into()).or_default()
        })
    }

    /// The place of a filter, if there is one.
    pub(super) fn find(&self, filter: &str) -> Option<&Node> {
        filter.split('/').try_fold(self, |node, level| node.below.get(level))
    }

    /// Changes the place of a filter, and removes what is empty then.
    pub(super) fn change(&mut self, filter: &str, change: impl FnOnce(&mut Node)) {
        let (level, rest) = match filter.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (filter, None),
        };
        let Some(next) = self.below.get_mut(level) else { return };
        match rest {
            Some(rest) => next.change(rest, change),
            None => change(next),
        }
        if next.below.is_empty() && next.here.is_empty() && next.groups.is_empty() {
            self.below.remove(level);
        }
    }

    /// Hands out the places of all filters that select a topic. A wildcard at the beginning does not select topics that begin
    /// with `$`.
    pub(super) fn select<'a>(&'a self, topic: &str, found: &mut impl FnMut(&'a Node)) {
        self.select_from(Some(topic), topic.starts_with('$'), found);
    }

    fn select_from<'a>(&'a self, rest: Option<&str>, literally: bool, found: &mut impl FnMut(&'a Node)) {
        if let Some(all) = self.below.get("#").filter(|_| !literally) {
            found(all);
        }
        let Some(rest) = rest else { return found(self) };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(next) = self.below.get(level) {
            next.select_from(rest, false, found);
        }
        if let Some(next) = self.below.get("+").filter(|_| !literally) {
            next.select_from(rest, false, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic;

    fn add(tree: &mut Node, filter: &str) {
        tree.place(filter).groups.push(Group { whole: filter.into(), members: Vec::new(), turn: Arc::default() });
    }

    fn selected(tree: &Node, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.select(topic, &mut |node| found.extend(node.groups.iter().map(|group| group.whole.to_string())));
        found.sort_unstable();
        found
    }

    /// All texts of up to `depth` of these levels.
    fn all(levels: &[&str], depth: usize) -> Vec<String> {
        let mut texts: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
        let mut last = texts.clone();
        for _ in 1..depth {
            last = last.iter().flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}"))).collect();
            texts.extend(last.iter().cloned());
        }
        texts
    }

    #[test]
    fn a_topic_selects_the_filters_that_match_it_and_no_others() {
        let mut filters = all(&["a", "é", "", "$b", "+", "#"], 3);
        filters.retain(|filter| topic::is_filter(filter));
        let mut tree = Node::default();
        for filter in &filters {
            add(&mut tree, filter);
        }
        for topic in all(&["a", "é", "", "$b", "c"], 4).into_iter().filter(|topic| topic::is_topic(topic)) {
            let mut expected: Vec<String> = filters.clone();
            expected.retain(|filter| topic::matches(filter.as_bytes(), topic.as_bytes()));
            expected.sort_unstable();
            assert_eq!(selected(&tree, &topic), expected, "{topic}");
        }
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut filters = all(&["a", "b", "+", "#"], 3);
        filters.retain(|filter| topic::is_filter(filter));
        let mut tree = Node::default();
        for filter in &filters {
            add(&mut tree, filter);
        }
        for filter in &filters {
            assert!(tree.find(filter).is_some());
            tree.change(filter, |node| node.groups.clear());
        }
        tree.change("never/there", |_| panic!("no such place"));
        assert!(tree.below.is_empty());
    }
}
