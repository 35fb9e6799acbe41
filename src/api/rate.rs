//! How many requests a second one key may send, and all together that come from one address without a valid one.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota};

use super::error::ApiError;
use crate::domain::api_key::ApiKey;
use crate::domain::id::KeyId;
use crate::domain::problem::Kind;

/// Known senders below which it isn't looked for those that can be forgotten.
const FEW: usize = 1024;

/// The address a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Whose requests count together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    Key(KeyId),
    Address(IpAddr),
}

impl Sender {
    /// Whose keys open nothing counts by address, so that who tries keys gets no further than who has one, and uses up
    /// nothing of what those with a key may send from the same address.
    pub(super) fn of(key: Option<&ApiKey>, peer: Peer) -> Self {
        key.map_or_else(|| Self::Address(one_client(peer.0)), |key| Self::Key(key.id))
    }
}

pub(super) struct RateLimit {
    per_second: NonZeroU32,
    limiter: DefaultKeyedRateLimiter<Sender>,
    /// How many senders are known when those that have been quiet are next forgotten.
    sweep_at: AtomicUsize,
}

impl RateLimit {
    /// `None` for 0: no limit.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        Some(Self {
            per_second,
            limiter: DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second)),
            sweep_at: AtomicUsize::new(FEW),
        })
    }

    pub(super) fn check(&self, sender: &Sender) -> Result<(), ApiError> {
        self.forget_the_quiet();
        self.limiter.check_key(sender).map_err(|_| {
            let detail = format!(
                "More than {} requests in a second: send this one again when Retry-After is over, and fewer at once.",
                self.per_second
            );
            ApiError::new(Kind::TooManyRequests, detail)
        })
    }

    /// Who has sent nothing for a second may send as much as who never did, and need not be known. Done when the known
    /// have doubled, it costs each request next to nothing, and at most twice as many are known as sent something lately.
    fn forget_the_quiet(&self) {
        if self.limiter.len() < self.sweep_at.load(Ordering::Relaxed) {
            return;
        }
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.sweep_at
            .store((2 * self.limiter.len()).max(FEW), Ordering::Relaxed);
    }
}

/// What one client's addresses have in common: of IPv6 it commonly has a whole /64.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Sender {
        Sender::of(None, Peer(IpAddr::from(number.to_be_bytes())))
    }

    #[test]
    fn each_sender_may_send_a_seconds_worth_at_once() {
        let rate = RateLimit::new(3).unwrap();
        let keys = [(); 2].map(|()| Sender::Key(KeyId::generate()));
        for sender in keys.into_iter().chain([address(1)]) {
            let admitted = (0..10).filter(|_| rate.check(&sender).is_ok()).count();
            assert_eq!(admitted, 3);
        }
        assert!(RateLimit::new(0).is_none());
    }

    #[test]
    fn who_has_been_quiet_is_forgotten() {
        let rate = RateLimit::new(1_000_000).unwrap();
        // A request of one sender counts for a microsecond.
        for number in 0..100_000 {
            rate.check(&address(number)).unwrap();
            assert!(rate.limiter.len() <= FEW);
        }
    }

    #[test]
    fn addresses_of_one_client_count_together() {
        let client = |text: &str| one_client(text.parse().unwrap()).to_string();
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), client("2001:db8:1:2::9"));
        assert_ne!(client("2001:db8:1:2::9"), client("2001:db8:1:3::9"));
        assert_eq!(client("::ffff:10.0.0.1"), "10.0.0.1");
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
    }
}
