//! One page of a list, newest first.

/// Which page: at most `limit` items that are older than the item `after`.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<Id> {
    pub limit: u32,
    pub after: Option<Id>,
}

/// The items, and the id to continue after when there are more.
#[derive(Clone, Debug)]
pub struct Page<T, Id> {
    pub items: Vec<T>,
    pub next: Option<Id>,
}
