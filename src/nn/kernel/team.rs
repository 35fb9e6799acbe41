//! A team of threads that share out work of microseconds.
//!
//! Waking a thread takes longer than a small product, so helpers keep looking for work while it comes fast, and sleep once it
//! doesn't. Nobody is waited for but who has already begun: of a helper that is late the caller does the work. An item has
//! the same thread from call to call, so that what it reads is still in that core's cache.

use std::any::Any;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{hint, ptr};

/// One thread that has work, and those that [`Team::join`] it to help.
///
/// Without helpers, or as its default, it is that one thread alone.
#[derive(Clone, Default)]
pub struct Team(Option<Arc<Shared>>);

/// What a call does, by the number of who does it: 0 is the caller.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    seats: Box<[Seat]>,
    /// Seats that are taken.
    helpers: AtomicUsize,
    dismissed: AtomicBool,
    /// Whether a call is under way.
    calling: AtomicBool,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether a helper may be asleep.
    asleep: AtomicBool,
    bed: Mutex<()>,
    wake: Condvar,
    done: Condvar,
}

/// A helper's place, alone on its lines of the cache, of which some processors fetch two at a time.
#[derive(Default)]
#[repr(align(128))]
struct Seat {
    taken: AtomicBool,
    /// [`NOTHING`], or how far the work is that the helper shall do.
    state: AtomicUsize,
    /// Where an offer's work is.
    work: UnsafeCell<Option<&'static Work<'static>>>,
}

const NOTHING: usize = 0;
const OFFERED: usize = 1;
const BEGUN: usize = 2;
/// Begun, and the caller sleeps until it is done.
const AWAITED: usize = 3;

/// How often a helper looks for work before it sleeps: some ten microseconds.
const LOOKS: u32 = 2000;

/// How often a caller looks whether a helper is done before it lets other threads have its core.
const PATIENCE: u32 = 10_000;

impl Team {
    /// A team that so many helpers may join.
    pub fn new(helpers: usize) -> Self {
        Self(Some(Arc::new(Shared {
            seats: (0..helpers).map(|_| Seat::default()).collect(),
            helpers: AtomicUsize::new(0),
            dismissed: AtomicBool::new(false),
            calling: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
            asleep: AtomicBool::new(false),
            bed: Mutex::new(()),
            wake: Condvar::new(),
            done: Condvar::new(),
        })))
    }

    /// How many threads there are now, the caller's included.
    pub fn size(&self) -> usize {
        1 + self
            .0
            .as_ref()
            .map_or(0, |shared| shared.helpers.load(Ordering::Relaxed))
    }

    /// Whether both are one team.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// How much of so much work is a piece: the same for everybody, but no less and no more than pays.
    pub fn piece(&self, length: usize, pays: RangeInclusive<usize>) -> usize {
        length.div_ceil(self.size()).min(*pays.end()).max(*pays.start())
    }

    /// Does `work` to every item. A panic of it goes on here, once all that was begun has ended.
    ///
    /// Where a call of this team is under way already, as within `work`, the caller does all by itself.
    pub fn for_each<T: Send>(&self, items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
        let helped = self.0.as_deref().filter(|_| self.size() > 1);
        let Some(shared) = helped.filter(|shared| !shared.calling.swap(true, Ordering::Acquire)) else {
            return items.into_iter().for_each(work);
        };
        let items: Vec<ManuallyDrop<T>> = items.into_iter().map(ManuallyDrop::new).collect();
        let count = items.len();
        let helpers = shared.seats.len().min(count.saturating_sub(1));
        let next = AtomicUsize::new(1 + helpers);
        let items = Items(items.as_ptr());
        shared.run(helpers, &|who| {
            let mut item = who;
            while item < count {
                // SAFETY: each number below the length comes up once, and nobody drops the items.
                work(unsafe { items.read(item) });
                if count == 1 + helpers {
                    break;
                }
                item = next.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// A place among the helpers, if one is free.
    pub fn join(&self) -> Option<Helper<'_>> {
        let shared = self.0.as_ref()?;
        let free = |seat: &Seat| !seat.taken.swap(true, Ordering::Acquire);
        let seat = shared.seats.iter().position(free)?;
        shared.helpers.fetch_add(1, Ordering::Relaxed);
        Some(Helper { shared, seat })
    }

    /// Helpers leave, for good.
    pub fn dismiss(&self) {
        if let Some(shared) = &self.0 {
            shared.dismissed.store(true, Ordering::Relaxed);
            shared.wake_up();
        }
    }
}

/// A helper's place in a team, free again when dropped.
pub struct Helper<'a> {
    shared: &'a Shared,
    seat: usize,
}

impl Helper<'_> {
    /// Helps until `stay`, which is asked between two looks for work, says no or the team is dismissed.
    pub fn help(self, stay: impl Fn() -> bool) {
        let mut looks = 0;
        while !self.shared.dismissed.load(Ordering::Relaxed) && stay() {
            if self.shared.work_at(self.seat) {
                looks = 0;
            } else if looks < LOOKS {
                looks += 1;
                hint::spin_loop();
            } else {
                self.shared.sleep(self.seat);
                looks = 0;
            }
        }
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.shared.helpers.fetch_sub(1, Ordering::Relaxed);
        self.shared.seats[self.seat].taken.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team").field("size", &self.size()).finish()
    }
}

/// Where items lie that the threads of a call share out.
struct Items<T>(*const ManuallyDrop<T>);

// SAFETY: each item is reached by one thread, and may be sent there.
unsafe impl<T: Send> Sync for Items<T> {}

impl<T> Items<T> {
    /// # Safety
    /// There is an item of this number, which is read once.
    unsafe fn read(&self, number: usize) -> T {
        // SAFETY: the caller's promise.
        ManuallyDrop::into_inner(unsafe { ptr::read(self.0.add(number)) })
    }
}

// SAFETY: `work` is written by who calls, of which there is one at a time, while nothing is offered at the seat, and read by
// who sits there, which is one at a time, between beginning and ending what was offered.
unsafe impl Sync for Seat {}

impl Shared {
    /// Does `work` for 0 here and for 1 to `helpers` by those at the first seats, or here.
    fn run(&self, helpers: usize, work: &Work<'_>) {
        // SAFETY: only the lifetime changes. The reference is used by whoever has begun a part of this call, and this
        // function returns, or unwinds, only after all parts have been done.
        let work: &'static Work<'static> = unsafe { std::mem::transmute(work) };
        let seats = &self.seats[..helpers];
        for seat in seats {
            // SAFETY: whoever sits there reads it only after an offer.
            unsafe { *seat.work.get() = Some(work) };
            seat.state.store(OFFERED, Ordering::Release);
        }
        // Whom this doesn't see going to sleep the next call does.
        if self.asleep.load(Ordering::Relaxed) {
            self.wake_up();
        }
        self.attempt(work, 0);
        for (number, seat) in seats.iter().enumerate() {
            let back = seat
                .state
                .compare_exchange(OFFERED, NOTHING, Ordering::Relaxed, Ordering::Relaxed);
            if back.is_ok() {
                self.attempt(work, 1 + number);
                continue;
            }
            self.wait_for(seat);
        }
        self.calling.store(false, Ordering::Release);
        if self.panicked.load(Ordering::Relaxed) {
            self.panicked.store(false, Ordering::Relaxed);
            resume_unwind(lock(&self.panic).take().expect("left by what panicked"));
        }
    }

    /// Does what is offered at a seat; whether there was something.
    fn work_at(&self, number: usize) -> bool {
        let seat = &self.seats[number];
        if seat.state.load(Ordering::Relaxed) != OFFERED {
            return false;
        }
        let begin = seat
            .state
            .compare_exchange(OFFERED, BEGUN, Ordering::Acquire, Ordering::Relaxed);
        if begin.is_ok() {
            // SAFETY: the call doesn't end before the state is `NOTHING` again.
            let work = unsafe { *seat.work.get() }.expect("offered");
            self.attempt(work, 1 + number);
            if seat.state.swap(NOTHING, Ordering::AcqRel) == AWAITED {
                let _bed = lock(&self.bed);
                self.done.notify_one();
            }
        }
        true
    }

    /// Until what was begun at a seat is done.
    fn wait_for(&self, seat: &Seat) {
        for _ in 0..PATIENCE {
            if seat.state.load(Ordering::Acquire) == NOTHING {
                return;
            }
            hint::spin_loop();
        }
        let mut bed = lock(&self.bed);
        let awaited = seat
            .state
            .compare_exchange(BEGUN, AWAITED, Ordering::Relaxed, Ordering::Acquire);
        while awaited.is_ok() && seat.state.load(Ordering::Acquire) != NOTHING {
            bed = self.done.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps the panic of a part for the caller.
    fn attempt(&self, work: &Work<'_>, who: usize) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(who))) {
            lock(&self.panic).get_or_insert(panic);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    fn sleep(&self, seat: usize) {
        let bed = lock(&self.bed);
        self.asleep.store(true, Ordering::Relaxed);
        let offered = self.seats[seat].state.load(Ordering::Relaxed) == OFFERED;
        if !offered && !self.dismissed.load(Ordering::Relaxed) {
            drop(self.wake.wait(bed));
        }
    }

    fn wake_up(&self) {
        let _bed = lock(&self.bed);
        self.asleep.store(false, Ordering::Relaxed);
        self.wake.notify_all();
    }
}

/// What these guard is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
