//! A team of threads that share out work of microseconds.
//!
//! Waking a thread takes longer than a small product, so helpers keep looking for work while it comes fast, and sleep once it
//! doesn't. Nobody is waited for but who has already begun: of a helper that is late the caller does the work. Where there are
//! as many items as threads each has the same thread from call to call, so that what it reads is still in that core's cache.

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
    seats: Box<[Apart<Seat>]>,
    /// Looked at all the time by all helpers, so apart from what calls change.
    dismissed: Apart<AtomicBool>,
    /// Seats that are taken.
    helpers: AtomicUsize,
    /// Whether a call is under way.
    calling: AtomicBool,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether a helper may be asleep.
    asleep: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
    done: Condvar,
}

/// Alone on its lines of the cache, of which some processors fetch two at a time.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// A helper's place.
#[derive(Default)]
struct Seat {
    taken: AtomicBool,
    /// [`NOTHING`], or how far the work is that the helper shall do.
    state: AtomicUsize,
    offer: UnsafeCell<Option<Offer>>,
}

/// What a helper is to do: `work(who)`.
#[derive(Clone, Copy)]
struct Offer {
    work: &'static Work<'static>,
    who: usize,
}

const NOTHING: usize = 0;
const OFFERED: usize = 1;
const BEGUN: usize = 2;
/// Begun, and the caller sleeps until it is done.
const AWAITED: usize = 3;

/// How often a helper looks for work before it sleeps: for ten to fifty microseconds, by how long the processor pauses.
const LOOKS: u32 = 600;

/// How often a caller looks whether a helper is done before it lets other threads have its core.
const LOOKS_BEFORE_WAITING: u32 = 10_000;

impl Team {
    /// A team that so many helpers may join.
    pub fn new(helpers: usize) -> Self {
        Self(Some(Arc::new(Shared {
            seats: (0..helpers).map(|_| Apart::default()).collect(),
            helpers: AtomicUsize::new(0),
            dismissed: Apart(AtomicBool::new(false)),
            calling: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
            asleep: AtomicBool::new(false),
            sleep: Mutex::new(()),
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
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// How much of so much work is a piece: the same for everybody, but no less and no more than pays.
    pub fn piece(&self, length: usize, pays: RangeInclusive<usize>) -> usize {
        length.div_ceil(self.size()).min(*pays.end()).max(*pays.start())
    }

    /// Does `work` to every item, which must not wait for another: one thread may do all of them, one after the other. A panic
    /// goes on here, once all that was begun has ended; items that nobody has begun by then may be leaked.
    ///
    /// Where a call of this team is under way already, as within `work`, the caller does all by itself.
    pub fn for_each<T: Send>(&self, items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
        let Some((shared, _calling)) = self.call() else {
            return items.into_iter().for_each(work);
        };
        let items: Vec<ManuallyDrop<T>> = items.into_iter().map(ManuallyDrop::new).collect();
        let count = items.len();
        let items = Items(items.as_ptr());
        let next = AtomicUsize::new(0);
        shared.run(count, |threads| next.store(threads, Ordering::Relaxed), &|who| {
            let mut item = who;
            while item < count {
                // SAFETY: each number below the length comes up once, and nobody drops the items.
                work(unsafe { items.read(item) });
                // Where nothing is left nobody takes the line of the cache from the others.
                if next.load(Ordering::Relaxed) >= count {
                    break;
                }
                item = next.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Begins a call, if there are helpers and none is under way.
    fn call(&self) -> Option<(&Shared, Calling<'_>)> {
        let shared = self.0.as_deref().filter(|_| self.size() > 1)?;
        let calling = shared.calling.swap(true, Ordering::Acquire);
        (!calling).then(|| (shared, Calling(&shared.calling)))
    }

    /// A place among the helpers, if one is free.
    pub fn join(&self) -> Option<Helper<'_>> {
        let shared = self.0.as_ref()?;
        let free = |seat: &Apart<Seat>| !seat.0.taken.swap(true, Ordering::Acquire);
        let seat = shared.seats.iter().position(free)?;
        shared.helpers.fetch_add(1, Ordering::Relaxed);
        Some(Helper { shared, seat })
    }

    /// Helpers that sleep, or are about to, ask again whether they are to stay.
    pub fn wake(&self) {
        if let Some(shared) = &self.0 {
            shared.wake_up();
        }
    }

    /// Helpers leave for good when this is dropped.
    pub fn dismiss_at_end(&self) -> Dismissal {
        Dismissal(self.clone())
    }

    /// Helpers leave, for good.
    pub fn dismiss(&self) {
        if let Some(shared) = &self.0 {
            shared.dismissed.0.store(true, Ordering::Relaxed);
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
        while !self.shared.dismissed.0.load(Ordering::Relaxed) && stay() {
            if self.shared.work_at(self.seat) {
                looks = 0;
            } else if looks < LOOKS {
                looks += 1;
                hint::spin_loop();
            } else {
                self.shared.sleep(self.seat, &stay);
                looks = 0;
            }
        }
    }
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.shared.helpers.fetch_sub(1, Ordering::Relaxed);
        self.shared.seats[self.seat].0.taken.store(false, Ordering::Release);
    }
}

/// Dismisses a team when dropped.
pub struct Dismissal(Team);

impl Drop for Dismissal {
    fn drop(&mut self) {
        self.0.dismiss();
    }
}

/// While this is there a call is under way.
struct Calling<'a>(&'a AtomicBool);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
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

// SAFETY: `offer` is written by who calls, of which there is one at a time, while nothing is offered at the seat, and read by
// who has begun what was offered, or has taken it back.
unsafe impl Sync for Seat {}

impl Shared {
    /// Does `work` for 0 here and for as many of the numbers from 1 below `count` as there are helpers by these, or here.
    /// `begin` hears before how many numbers that makes. Who calls has set `calling`.
    fn run(&self, count: usize, begin: impl FnOnce(usize), work: &Work<'_>) {
        // SAFETY: only the lifetime changes. The reference is used by whoever has begun a part of this call, and this
        // function returns, or unwinds, only after all parts have been done.
        let work: &'static Work<'static> = unsafe { std::mem::transmute(work) };
        let helpers = self.helpers.load(Ordering::Relaxed).min(count.saturating_sub(1));
        let present = self.seats.iter().map(|seat| &seat.0);
        let present = present.filter(|seat| seat.taken.load(Ordering::Relaxed)).take(helpers);
        begin(1 + helpers);
        let mut offered = 0;
        for (number, seat) in present.enumerate() {
            offered = 1 + number;
            // SAFETY: whoever sits there reads it only after the offer.
            unsafe { *seat.offer.get() = Some(Offer { work, who: offered }) };
            seat.state.store(OFFERED, Ordering::Release);
        }
        // Whom this doesn't see going to sleep the next call does.
        if self.asleep.load(Ordering::Relaxed) {
            self.wake_up();
        }
        self.attempt(work, 0);
        (1 + offered..=helpers).for_each(|who| self.attempt(work, who));
        for seat in self.seats.iter().map(|seat| &seat.0) {
            self.take_back_or_wait_for(seat);
        }
        if self.panicked.load(Ordering::Relaxed) {
            self.panicked.store(false, Ordering::Relaxed);
            let panic = lock(&self.panic).take();
            resume_unwind(panic.expect("left by what panicked"));
        }
    }

    fn take_back_or_wait_for(&self, seat: &Seat) {
        if seat.state.load(Ordering::Acquire) == NOTHING {
            return;
        }
        let back = seat
            .state
            .compare_exchange(OFFERED, NOTHING, Ordering::Relaxed, Ordering::Relaxed);
        if back.is_err() {
            return self.wait_for(seat);
        }
        // SAFETY: what was offered there is nobody else's any more.
        let offer = unsafe { *seat.offer.get() };
        let Offer { work, who } = offer.expect("offered by this call");
        self.attempt(work, who);
    }

    /// Does what is offered at a seat; whether there was something.
    fn work_at(&self, number: usize) -> bool {
        let seat = &self.seats[number].0;
        if seat.state.load(Ordering::Relaxed) != OFFERED {
            return false;
        }
        let begin = seat
            .state
            .compare_exchange(OFFERED, BEGUN, Ordering::Acquire, Ordering::Relaxed);
        if begin.is_ok() {
            // SAFETY: the call doesn't end before the state is `NOTHING` again.
            let Offer { work, who } = unsafe { *seat.offer.get() }.expect("offered");
            self.attempt(work, who);
            if seat.state.swap(NOTHING, Ordering::AcqRel) == AWAITED {
                let _awake = lock(&self.sleep);
                self.done.notify_one();
            }
        }
        true
    }

    /// Until what was begun at a seat is done.
    fn wait_for(&self, seat: &Seat) {
        for _ in 0..LOOKS_BEFORE_WAITING {
            if seat.state.load(Ordering::Acquire) == NOTHING {
                return;
            }
            hint::spin_loop();
        }
        let mut guard = lock(&self.sleep);
        let awaited = seat
            .state
            .compare_exchange(BEGUN, AWAITED, Ordering::Relaxed, Ordering::Acquire);
        while awaited.is_ok() && seat.state.load(Ordering::Acquire) != NOTHING {
            guard = self.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps the panic of a part for the caller.
    fn attempt(&self, work: &Work<'_>, who: usize) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(who))) {
            match &mut *lock(&self.panic) {
                first @ None => *first = Some(panic),
                // Dropping it might panic once more, while others still work.
                Some(_) => std::mem::forget(panic),
            }
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    /// Until there may be work, or a reason to leave.
    fn sleep(&self, seat: usize, stay: impl Fn() -> bool) {
        let guard = lock(&self.sleep);
        self.asleep.store(true, Ordering::Relaxed);
        let offered = self.seats[seat].0.state.load(Ordering::Relaxed) == OFFERED;
        if !offered && !self.dismissed.0.load(Ordering::Relaxed) && stay() {
            drop(self.wake.wait(guard));
        }
    }

    fn wake_up(&self) {
        let _awake = lock(&self.sleep);
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
