//! How much a server takes in one request, and what is done about one that does not say so.

use std::sync::atomic::{AtomicUsize, Ordering};

use opcua::types::StatusCode;

use crate::{fault::Fault, status};

/// Entries of one request, at most. Found out by asking: a server without operation limits refuses what is too much for it, and
/// gets half as much from then on.
#[derive(Debug)]
pub(crate) struct Limit(AtomicUsize);

impl Limit {
    /// So many, at least one.
    pub(crate) fn new(entries: usize) -> Limit {
        Limit(AtomicUsize::new(entries.max(1)))
    }

    /// How many may be asked for now.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// So many were too much.
    pub(crate) fn lower(&self, asked: usize) {
        let half = (asked / 2).max(1);
        if self.0.fetch_min(half, Ordering::Relaxed) > half {
            tracing::debug!(
                asked,
                half,
                "the server refused so many entries in one request; half of them are asked for"
            );
        }
    }

    /// No more than so many from now on.
    pub(crate) fn at_most(&self, entries: usize) {
        self.0.fetch_min(entries.max(1), Ordering::Relaxed);
    }

    /// Whether fewer may be asked for than these, which the server took for too much; it is asked for fewer from now on.
    pub(crate) fn yields(&self, fault: &Fault, asked: usize) -> bool {
        let yields = asked > 1 && matches!(fault, Fault::Refused(status) if is_too_much(*status));
        if yields {
            self.lower(asked);
        }
        yields
    }
}

/// Whether a request, or its answer, was too large for the server or for the gateway, and half of it may do.
pub(crate) fn is_too_much(code: StatusCode) -> bool {
    [
        StatusCode::BadTooManyOperations,
        StatusCode::BadRequestTooLarge,
        StatusCode::BadResponseTooLarge,
        StatusCode::BadEncodingLimitsExceeded,
    ]
    .into_iter()
    .any(|much| status::same(code, much))
}

/// Asks for everything, in parts as large as the server takes. The answers are in the order of the questions.
pub(crate) async fn in_parts<Q, A, F>(
    limit: &Limit,
    questions: &[Q],
    ask: impl Fn(Vec<Q>) -> F,
) -> Result<Vec<A>, Fault>
where
    Q: Clone,
    F: Future<Output = Result<Vec<A>, Fault>>,
{
    let mut answers = Vec::with_capacity(questions.len());
    let mut left = questions;
    while !left.is_empty() {
        let (part, rest) = left.split_at(limit.get().min(left.len()));
        match ask(part.to_vec()).await {
            Ok(part) => {
                answers.extend(part);
                left = rest;
            }
            Err(fault) if limit.yields(&fault, part.len()) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn a_server_that_refuses_much_gets_half_of_it_until_it_answers() {
        let (limit, asked) = (Limit::new(1000), RefCell::new(Vec::new()));
        let ask = |part: Vec<u32>| {
            asked.borrow_mut().push(part.len());
            let answer = match part.len() {
                ..=200 => Ok(part),
                _ => Err(Fault::Refused(StatusCode::BadTooManyOperations)),
            };
            std::future::ready(answer)
        };
        let questions: Vec<u32> = (0..600).collect();
        assert_eq!(in_parts(&limit, &questions, ask).await, Ok(questions));
        assert_eq!(asked.into_inner(), [600, 300, 150, 150, 150, 150]);
        assert_eq!(limit.get(), 150, "which is known from now on");
    }

    #[tokio::test]
    async fn what_is_refused_for_another_reason_or_alone_is_refused() {
        let limit = Limit::new(10);
        let refused = |code| move |_: Vec<u32>| std::future::ready(Err::<Vec<u32>, _>(Fault::Refused(code)));
        for (code, count) in [(StatusCode::BadUserAccessDenied, 10), (StatusCode::BadTooManyOperations, 1)] {
            let answer = in_parts(&limit, &vec![0; count], refused(code)).await;
            assert_eq!(answer, Err(Fault::Refused(code)));
        }
    }
}
