//! A list that seldom has more than three items, which it holds without allocation.

/// A list that seldom has more than three items.
// `SmallVec` would be invariant in the lifetime of what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Few<T> {
    first: [Option<T>; 3],
    len: usize,
    rest: Vec<T>,
}

impl<T> Few<T> {
    /// Adds an item at the end.
    pub(crate) fn push(&mut self, item: T) {
        match self.first.get_mut(self.len) {
            Some(slot) => *slot = Some(item),
            None => self.rest.push(item),
        }
        self.len = self.len.saturating_add(1);
    }

    /// The items in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().flatten().chain(&self.rest)
    }

    /// The items in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().flatten().chain(&mut self.rest)
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: [None, None, None], len: 0, rest: Vec::new() }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut few = Self::default();
        items.into_iter().for_each(|item| few.push(item));
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_the_order_they_were_given_however_many() {
        for many in 0..7 {
            let few: Few<usize> = (0..many).collect();
            assert!(few.iter().copied().eq(0..many));
        }
    }
}
