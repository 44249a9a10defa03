//! Lists of very many small things. The rule: at most an eighth of their room is spare, where a plain list doubles.

/// What each list may have to spare whatever its length.
const SPARE: usize = 16;

/// Adds to the end.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + SPARE);
    }
    list.push(item);
}

/// Puts in before `at`.
pub(crate) fn insert<T>(list: &mut Vec<T>, at: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + SPARE);
    }
    list.insert(at, item);
}

/// Makes it at least `len` long.
pub(crate) fn grow<T: Clone>(list: &mut Vec<T>, len: usize, item: T) {
    if len > list.capacity() {
        list.reserve_exact(len - list.len() + list.len() / 8 + SPARE);
    }
    if len > list.len() {
        list.resize(len, item);
    }
}

/// Bytes that its room takes.
#[cfg(test)]
pub(crate) fn bytes<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}
