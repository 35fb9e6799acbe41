//! Numbered calls: applied in order, each once, however often it is sent.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::call::{Answer, Call};
use crate::domain::problem::{Kind, Problem};

/// Answers are kept for calls that are sent again: the newest whatever its size, and before it so many and so much.
const KEPT_ANSWERS: usize = 64;
const KEPT_BYTES: usize = 64 << 10;

/// The calls applied so far, and the newest answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sequence {
    applied: u64,
    /// The last is that of call `applied`.
    answers: VecDeque<Answer>,
}

/// What to do with a call.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// Apply it; this is its number.
    Now(u64),
    /// It was applied before; this was its answer.
    Again(Answer),
}

impl Sequence {
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// A call without a number is the next one.
    ///
    /// Errors: `conflict` where calls before it are missing, where its number had another call, and where its answer is
    /// no longer kept.
    pub(super) fn turn(&self, seq: Option<u64>, call: &Call) -> Result<Turn, Problem> {
        let next = self.applied + 1;
        let seq = seq.unwrap_or(next);
        if seq == next {
            return Ok(Turn::Now(seq));
        }
        if seq > next {
            return Err(conflict(format!(
                "This session waits for seq {next}; {seq} comes too early."
            )));
        }
        let kept = self
            .answers
            .len()
            .checked_sub((next - seq) as usize)
            .and_then(|place| self.answers.get(place));
        match kept {
            Some(answer) if answer.call() == call.name() => Ok(Turn::Again(answer.clone())),
            Some(answer) => {
                let detail = format!(
                    "The call with seq {seq} was {}, not {}; the next is {next}.",
                    answer.call(),
                    call.name()
                );
                Err(conflict(detail))
            }
            None => {
                let detail = format!(
                    "The call with seq {seq} was applied, but its answer is no longer kept; the next is {next}."
                );
                Err(conflict(detail))
            }
        }
    }

    /// Remembers that the next call was applied.
    pub(super) fn record(&mut self, answer: Answer) {
        self.applied += 1;
        self.answers.push_back(answer);
        let mut room = KEPT_BYTES;
        let earlier = self.answers.iter().rev().skip(1).take(KEPT_ANSWERS - 1);
        let fitting = earlier.take_while(|answer| {
            let fits = answer.size_bytes() <= room;
            room = room.saturating_sub(answer.size_bytes());
            fits
        });
        let kept = 1 + fitting.count();
        self.answers.drain(..self.answers.len() - kept);
    }
}

fn conflict(detail: String) -> Problem {
    Problem::new(Kind::Conflict, detail)
}

#[cfg(test)]
mod tests {
    use super::super::call::{Outputs, StepAnswer};
    use super::*;
    use crate::nn::weights::Tensor;

    fn step(seq: u64) -> Answer {
        Answer::ApplyGradients(StepAnswer { step: seq, seq })
    }

    fn call() -> Call {
        Call::ApplyGradients { gradients: Vec::new() }
    }

    fn after(calls: u64) -> Sequence {
        let mut sequence = Sequence::default();
        (1..=calls).for_each(|seq| sequence.record(step(seq)));
        sequence
    }

    #[test]
    fn calls_come_one_after_the_other_with_or_without_their_number() {
        let sequence = after(3);
        assert_eq!(sequence.turn(None, &call()).unwrap(), Turn::Now(4));
        assert_eq!(sequence.turn(Some(4), &call()).unwrap(), Turn::Now(4));
    }

    #[test]
    fn a_call_that_is_sent_again_gets_its_first_answer() {
        let sequence = after(3);
        for seq in 1..=3 {
            assert_eq!(sequence.turn(Some(seq), &call()).unwrap(), Turn::Again(step(seq)));
        }
    }

    #[test]
    fn a_gap_is_told_with_the_number_that_is_waited_for() {
        let problem = after(3).turn(Some(6), &call()).unwrap_err();
        assert_eq!((problem.kind, problem.detail.contains("seq 4")), (Kind::Conflict, true));
    }

    #[test]
    fn another_call_under_a_used_number_is_a_conflict() {
        let weights = Call::SetWeights { weights: Vec::new() };
        let problem = after(3).turn(Some(2), &weights).unwrap_err();
        assert_eq!(
            (problem.kind, problem.detail.contains("was apply_gradients")),
            (Kind::Conflict, true)
        );
    }

    #[test]
    fn old_answers_go_and_the_newest_stays_however_large_it_is() {
        let mut sequence = after(100);
        assert_eq!(sequence.turn(Some(37), &call()).unwrap(), Turn::Again(step(37)));
        assert!(
            sequence
                .turn(Some(36), &call())
                .unwrap_err()
                .detail
                .contains("no longer kept")
        );
        let y = Tensor {
            shape: vec![100_000, 1],
            data: vec![0.0; 100_000],
        };
        let large = Answer::Forward(Outputs { y });
        sequence.record(large.clone());
        sequence.record(large);
        assert_eq!(sequence.answers.len(), 1);
        assert!(matches!(
            sequence.turn(
                Some(102),
                &Call::Forward {
                    x: Tensor {
                        shape: vec![],
                        data: vec![]
                    }
                }
            ),
            Ok(Turn::Again(_))
        ));
    }
}
