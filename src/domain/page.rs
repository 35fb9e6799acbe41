//! One page of a list, newest first.

use std::fmt::Display;

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

impl<Id: Copy + Display> PageRequest<Id> {
    /// The text that the ids of the page sort before: that of `after`, or one that every id sorts before.
    pub fn before(&self) -> String {
        self.after.map_or_else(|| "~".to_owned(), |id| id.to_string())
    }

    /// One row more than the page has, to see whether another page follows.
    pub fn rows_to_read(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page from the rows that were read for it.
    pub fn of<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> Id) -> Page<T, Id> {
        let limit = self.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        Page {
            next: items.last().filter(|_| more).map(id),
            items,
        }
    }
}
