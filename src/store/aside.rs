//! Decoding what is stored, and encoding what will be, keeps a core busy for as long as it is large.

use std::panic::resume_unwind;

use tracing::Span;

use super::StoreError;

/// Up to here it takes about a millisecond, which is hardly more than handing it over does.
const QUICK_BYTES: usize = 256 * 1024;

/// Does work on so many bytes: where they are many on a thread that may block, so that no request waits behind it.
pub async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    if bytes <= QUICK_BYTES {
        return Ok(work());
    }
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        // The process ends.
        Err(_) => StoreError::Closed,
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn only_work_on_many_bytes_leaves_the_thread() {
        let here = thread::current().id();
        let of = async |bytes| aside(bytes, || thread::current().id()).await.unwrap();
        assert_eq!(of(QUICK_BYTES).await, here);
        assert_ne!(of(QUICK_BYTES + 1).await, here);
    }

    #[tokio::test]
    #[should_panic(expected = "as if it were here")]
    async fn a_panic_is_that_of_the_caller() {
        let _ = aside(QUICK_BYTES + 1, || panic!("as if it were here")).await;
    }
}
