//! What stores and components share without copying it, and compare without looking into it.

use std::{fmt, ops::Deref, rc::Rc};

/// Equal to another when it is the very same, whatever is in it.
pub struct Shared<T: ?Sized>(Rc<T>);

impl<T> Shared<T> {
    /// Shared from now on.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Rc::new(value))
    }
}

impl<T: Clone> Shared<T> {
    /// To change it; whoever holds it already keeps it as it was.
    pub fn make_mut(&mut self) -> &mut T {
        Rc::make_mut(&mut self.0)
    }
}

impl<T: ?Sized> Shared<T> {
    /// The pointer itself, such as for a trait object.
    #[must_use]
    pub fn rc(&self) -> Rc<T> {
        Rc::clone(&self.0)
    }
}

impl<T: ?Sized> From<Rc<T>> for Shared<T> {
    fn from(rc: Rc<T>) -> Self {
        Self(rc)
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Rc::as_ptr(&self.0), Rc::as_ptr(&other.0))
    }
}

impl<T: ?Sized> fmt::Debug for Shared<T> {
    /// Not what is in it: that would bring the printing of floats, 13 KB, into the page.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_equal_to_itself_alone() {
        let one = Shared::new(vec![1]);
        let mut changed = one.clone();
        assert_eq!(one, changed);
        assert_ne!(one, Shared::new(vec![1]), "it only looks alike");
        changed.make_mut().push(2);
        assert_ne!(one, changed);
        assert_eq!((one.len(), changed.len()), (1, 2));
        let dynamic: Shared<dyn fmt::Debug> = Shared::from(one.rc() as Rc<dyn fmt::Debug>);
        assert_eq!(dynamic, dynamic.clone());
    }
}
