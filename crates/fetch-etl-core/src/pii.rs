//! The wrapper that personal data lives in.

use std::fmt;

use ref_cast::RefCast;
use zeroize::Zeroize;

/// A value that may be, or may contain, personal data.
///
/// There is exactly one way in, [`expose`](Pii::expose), so that every place that looks at personal data can be
/// found by searching for that word. `Pii` has no `Display`, `Serialize`, `Clone`, `Deref` or `PartialEq`; its
/// `Debug` prints `[pii]`. What it owns is overwritten with zeros when it is dropped (best effort: copies that a
/// library made while reading, such as a JSON parser's scratch space, are out of reach).
///
/// ```
/// use fetch_etl_core::Pii;
///
/// let ip = Pii::new(String::from("203.0.113.7"));
/// assert_eq!(format!("{ip:?}"), "[pii]");
/// assert_eq!(ip.expose(), "203.0.113.7");
/// ```
///
/// It cannot be printed:
///
/// ```compile_fail,E0277
/// # use fetch_etl_core::Pii;
/// println!("{}", Pii::new(String::from("203.0.113.7")));
/// ```
///
/// nor serialised:
///
/// ```compile_fail,E0277
/// # use fetch_etl_core::Pii;
/// serde_json::to_string(&Pii::new(String::from("203.0.113.7")));
/// ```
///
/// nor copied behind somebody's back:
///
/// ```compile_fail,E0599
/// # use fetch_etl_core::Pii;
/// let copy = Pii::new(String::from("203.0.113.7")).clone();
/// ```
///
/// nor used as the text it holds:
///
/// ```compile_fail,E0308
/// # use fetch_etl_core::Pii;
/// let text: &str = &Pii::new(String::from("203.0.113.7"));
/// ```
#[derive(RefCast)]
#[repr(transparent)]
pub struct Pii<T: ?Sized + Zeroize>(T);

impl<T: Zeroize> Pii<T> {
    /// Wraps a value; it is zeroized when the wrapper is dropped.
    pub fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T: ?Sized + Zeroize> Pii<T> {
    /// Looks at the personal data. Search for this word to audit a code base.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Wraps a borrowed value without copying it. The owner stays responsible for zeroizing.
    pub fn wrap(value: &T) -> &Self {
        Self::ref_cast(value)
    }
}

impl Pii<Vec<u8>> {
    /// The same bytes as a borrowed, still wrapped, slice.
    pub fn as_bytes(&self) -> &Pii<[u8]> {
        Pii::wrap(self.0.as_slice())
    }

    /// Zeroizes and drops it, all bytes at once: dropping alone does it byte by byte, which shows at a million messages a second.
    pub(crate) fn wipe(mut self) {
        // What is behind the length is zeroized as a whole.
        self.0.clear();
        self.0.zeroize();
    }
}

impl Pii<String> {
    /// The same text as a borrowed, still wrapped, string slice.
    pub fn as_text(&self) -> &Pii<str> {
        Pii::wrap(self.0.as_str())
    }
}

impl<T: ?Sized + Zeroize> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pii]")
    }
}

impl<T: ?Sized + Zeroize> Drop for Pii<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(format!("{:?}", Pii::new(String::from("593-47-5928"))), "[pii]");
        assert_eq!(format!("{:#?}", Some(Pii::wrap("593-47-5928"))), "Some(\n    [pii],\n)");
    }

    #[test]
    fn dropping_zeroizes_what_is_owned() {
        #[derive(Clone)]
        struct Probe(std::rc::Rc<std::cell::Cell<bool>>);
        impl Zeroize for Probe {
            fn zeroize(&mut self) {
                self.0.set(true);
            }
        }
        let probe = Probe(std::rc::Rc::default());
        let _borrowed = Pii::wrap(&probe);
        assert!(!probe.0.get(), "a borrow zeroizes nothing");
        drop(Pii::new(probe.clone()));
        assert!(probe.0.get());
    }
}
