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
        let _dismissal = team.dismiss_at_end();
        there.wait();
        work(&team)
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
fn as_many_items_as_threads_are_each_the_same_threads() {
    with_helpers(2, |team| {
        let mut threads = [None; 3];
        // Until both helpers were in time once.
        while threads.iter().any(Option::is_none) || threads[1..].contains(&threads[0]) {
            team.for_each(&mut threads, |thread| *thread = Some(thread::current().id()));
        }
        let kept = threads;
        for _ in 0..1000 {
            team.for_each(threads.iter().zip(&kept), |(_, kept)| {
                let me = Some(thread::current().id());
                assert!(
                    me == *kept || me == threads[0],
                    "a helper does its own item, or the caller"
                );
            });
        }
    });
}

#[test]
fn helpers_that_slept_wake_up_for_work_and_callers_sleep_until_a_long_item_is_done() {
    with_helpers(1, |team| {
        let shared = team.0.as_ref().unwrap();
        for _ in 0..3 {
            while !shared.asleep.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
            // Until the helper has begun one of them.
            let (caller, helped) = (thread::current().id(), AtomicBool::new(false));
            while !helped.load(Ordering::Relaxed) {
                team.for_each(0..2, |_| {
                    if thread::current().id() != caller {
                        helped.store(true, Ordering::Relaxed);
                        (0..10 * LOOKS_BEFORE_WAITING).for_each(|_| hint::spin_loop());
                    }
                });
            }
        }
    });
}

#[test]
fn whoever_sits_where_gets_work() {
    let team = Team::new(3);
    let [first, second, helper] = [(); 3].map(|()| team.join().unwrap());
    drop((first, second));
    thread::scope(|scope| {
        let _dismissal = team.dismiss_at_end();
        scope.spawn(|| helper.help(|| true));
        let (caller, helped) = (thread::current().id(), AtomicBool::new(false));
        while !helped.load(Ordering::Relaxed) {
            let mut done = [0; 2];
            team.for_each(&mut done, |done| {
                *done += 1;
                helped.fetch_or(thread::current().id() != caller, Ordering::Relaxed);
            });
            assert_eq!(done, [1; 2]);
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
            let items = (0..3).inspect(|_| panic!("no item"));
            catch_unwind(AssertUnwindSafe(|| team.for_each(items, |_| ()))).unwrap_err();
            assert!(!team.0.as_ref().unwrap().calling.load(Ordering::Relaxed));
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
