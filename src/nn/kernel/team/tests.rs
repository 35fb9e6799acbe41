use std::sync::Barrier;
use std::thread;

use super::*;

/// What `work` returns for a team with so many helpers.
pub(crate) fn with_helpers<T>(helpers: usize, work: impl FnOnce(&Team) -> T) -> T {
    let team = Team::new(helpers);
    let there = Barrier::new(1 + helpers);
    thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|| {
                let helper = team.join().expect("a free place");
                there.wait();
                helper.help(|| true);
            });
        }
        there.wait();
        let done = catch_unwind(AssertUnwindSafe(|| work(&team)));
        team.dismiss();
        done.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn every_item_is_worked_on_once_and_before_the_call_returns() {
    for helpers in 0..4 {
        with_helpers(helpers, |team| {
            assert_eq!(team.size(), 1 + helpers);
            for count in (0..20).chain([1000]) {
                let mut done = vec![0; count];
                for round in 1..50 {
                    team.for_each(&mut done, |done| *done += 1);
                    assert!(
                        done.iter().all(|&done| done == round),
                        "{count} items, {helpers} helpers"
                    );
                }
            }
        });
    }
}

#[test]
fn an_item_of_its_own_goes_to_each_helper_that_is_there_in_time() {
    with_helpers(2, |team| {
        let meeting = Barrier::new(3);
        let threads = Mutex::new(Vec::new());
        // Each waits for the others, so that nobody can do two of them.
        team.for_each(0..3, |_| {
            meeting.wait();
            lock(&threads).push(thread::current().id());
        });
        let mut threads = threads.into_inner().unwrap();
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert_eq!(threads.len(), 3);
    });
}

#[test]
fn helpers_that_slept_wake_up_for_work_and_callers_that_wait_long_for_them() {
    with_helpers(1, |team| {
        for _ in 0..3 {
            let shared = team.0.as_ref().unwrap();
            while !shared.asleep.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
            let meeting = Barrier::new(2);
            team.for_each([false, true], |waits| {
                meeting.wait();
                // Long enough for the caller to lose its patience.
                if waits && thread::current().name() != Some("main") {
                    (0..20 * PATIENCE).for_each(|_| hint::spin_loop());
                }
            });
        }
    });
}

#[test]
fn a_panic_of_any_item_goes_on_in_the_caller_when_all_others_are_done() {
    for bad in 0..3 {
        with_helpers(2, |team| {
            let done = AtomicUsize::new(0);
            let work = |item: usize| {
                assert!(item != bad, "item {item}");
                done.fetch_add(1, Ordering::Relaxed);
            };
            let panic = catch_unwind(AssertUnwindSafe(|| team.for_each(0..3, work))).unwrap_err();
            assert_eq!(panic.downcast_ref::<String>(), Some(&format!("item {bad}")));
            assert_eq!(done.into_inner(), 2);
            let mut after = [0; 3];
            team.for_each(&mut after, |item| *item += 1);
            assert_eq!(after, [1; 3], "the team goes on");
        });
    }
}

#[test]
fn a_call_within_a_call_is_done_by_its_caller() {
    with_helpers(2, |team| {
        let mut sums = [0; 3];
        team.for_each(&mut sums, |sum| {
            let (me, total) = (thread::current().id(), Mutex::new(0));
            team.for_each(0..10, |k| {
                assert_eq!(thread::current().id(), me);
                *lock(&total) += k;
            });
            *sum = total.into_inner().unwrap();
        });
        assert_eq!(sums, [45; 3]);
    });
}

#[test]
fn places_are_as_many_as_were_made_and_free_again_when_helpers_leave() {
    let team = Team::new(2);
    let (one, other) = (team.join(), team.join());
    assert!(one.is_some() && other.is_some() && team.join().is_none());
    assert_eq!(team.size(), 3);
    // Nobody is at these places who would work.
    let mut items = [0; 5];
    team.for_each(&mut items, |item| *item += 1);
    assert_eq!(items, [1; 5]);
    drop(one);
    assert_eq!(team.size(), 2);
    other.unwrap().help(|| false);
    assert_eq!(team.size(), 1);
    assert!(Team::default().join().is_none());
}
