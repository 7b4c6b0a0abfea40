//! In which order expressions are calculated that take each other's results.

use std::collections::BTreeMap;

/// The columns of `inputs` (the columns that each takes its numbers from), each after those it needs.
///
/// # Errors
///
/// The cycles: columns that need each other, in the order in which they do, each cycle once.
pub(crate) fn in_order(inputs: &BTreeMap<usize, &[usize]>) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut missing: BTreeMap<usize, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (column, inputs) in inputs_of_expressions(inputs) {
        missing.insert(column, inputs.len());
        for input in inputs {
            needed_by.entry(input).or_default().push(column);
        }
    }
    let mut order: Vec<usize> =
        missing.iter().filter(|(_, missing)| **missing == 0).map(|(column, _)| *column).collect();
    let mut done = 0;
    while let Some(column) = order.get(done).copied() {
        done += 1;
        missing.remove(&column);
        for user in needed_by.remove(&column).unwrap_or_default() {
            if let Some(missing) = missing.get_mut(&user) {
                *missing -= 1;
                if *missing == 0 {
                    order.push(user);
                }
            }
        }
    }
    if missing.is_empty() { Ok(order) } else { Err(cycles(inputs, &missing)) }
}

/// Of each expression those inputs that are expressions themselves.
fn inputs_of_expressions(all: &BTreeMap<usize, &[usize]>) -> impl Iterator<Item = (usize, Vec<usize>)> {
    let expressions_of = |inputs: &[usize]| inputs.iter().copied().filter(|input| all.contains_key(input)).collect();
    all.iter().map(move |(column, inputs)| (*column, expressions_of(inputs)))
}

/// Each of `left` needs one of `left`, so whoever walks on from need to need comes round at last.
fn cycles(inputs: &BTreeMap<usize, &[usize]>, left: &BTreeMap<usize, usize>) -> Vec<Vec<usize>> {
    let mut cycles = Vec::new();
    // In which walk a column was come by.
    let mut walked: BTreeMap<usize, usize> = BTreeMap::new();
    for (walk, start) in left.keys().copied().enumerate() {
        let mut path = Vec::new();
        let mut column = Some(start);
        while let Some(here) = column.filter(|here| !walked.contains_key(here)) {
            walked.insert(here, walk);
            path.push(here);
            column = inputs.get(&here).and_then(|inputs| inputs.iter().find(|input| left.contains_key(input))).copied();
        }
        if let Some(end) = column.filter(|end| walked.get(end) == Some(&walk)) {
            cycles.push(path.into_iter().skip_while(|column| *column != end).collect());
        }
    }
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(inputs: &[(usize, &[usize])]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
        in_order(&inputs.iter().copied().collect())
    }

    #[test]
    fn what_is_needed_comes_first() {
        assert_eq!(order(&[(1, &[2]), (2, &[3, 0]), (3, &[0])]), Ok(vec![3, 2, 1]));
        assert_eq!(order(&[(1, &[0]), (2, &[])]), Ok(vec![1, 2]));
        assert_eq!(order(&[]), Ok(vec![]));
    }

    #[test]
    fn a_long_chain_needs_no_deep_recursion() {
        let inputs: Vec<[usize; 1]> = (1..=100_000).map(|input| [input]).collect();
        let chain: BTreeMap<usize, &[usize]> =
            inputs.iter().enumerate().map(|(column, input)| (column, &input[..])).collect();
        assert_eq!(in_order(&chain).map(|order| order.len()), Ok(100_000));
    }

    #[test]
    fn every_cycle_is_named_once() {
        assert_eq!(order(&[(1, &[1])]), Err(vec![vec![1]]));
        assert_eq!(order(&[(1, &[2]), (2, &[3]), (3, &[1])]), Err(vec![vec![1, 2, 3]]));
        assert_eq!(order(&[(1, &[2]), (2, &[1]), (3, &[4]), (4, &[3])]), Err(vec![vec![1, 2], vec![3, 4]]));
    }

    #[test]
    fn what_only_needs_a_cycle_is_not_named_as_part_of_it() {
        assert_eq!(order(&[(1, &[2]), (2, &[3]), (3, &[2])]), Err(vec![vec![2, 3]]));
    }
}
