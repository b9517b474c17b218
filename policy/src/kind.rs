//! The kinds of personal data that this house holds, each stated in [`field`](crate::field) and nowhere else.

use crate::field::Field;

/// Why a text is not a value of its kind. Says what was expected, never what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// A personal value in the clear, in memory, wiped when dropped.
///
/// It has no `Display`, no `Serialize` and a starred `Debug`: the one way out of the program leads
/// through the vault and the session.
pub trait Pii: Sized + Send + Sync + 'static {
    /// The dictionary entry of this kind.
    const FIELD: Field;

    /// Standardises, then validates.
    ///
    /// # Errors
    /// [`Invalid`] says which rule the text breaks; it never quotes the text.
    fn parse(raw: &str) -> Result<Self, Invalid>;

    /// The normalised value, for sealing, indexing and comparing.
    fn expose(&self) -> &str;
}

/// Declares the kinds and the rest of the data dictionary in one table.
macro_rules! dictionary {
    (
        personal { $($kind:ident $pkey:literal $pzh:literal $pen:literal $class:ident $pshape:literal $pexample:literal $pstandard:literal $mask:path, $parse:path;)+ }
        open { $($open:ident $okey:literal $ozh:literal $oen:literal $oshape:literal $oexample:literal $ostandard:literal;)+ }
    ) => {
        /// A governed field: the thing that a rule names and that every decision is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Field { $(#[doc = $pen] $kind,)+ $(#[doc = $oen] $open,)+ }

        impl Field {
            /// Every field, in the order of the dictionary.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+ $(Self::$open,)+];

            /// How many of them are personal: the first ones.
            pub const PERSONAL: usize = [$(Self::$kind,)+].len();

            /// What the dictionary says of this field.
            #[must_use]
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$kind => Entry { key: $pkey, zh: $pzh, en: $pen, class: Class::$class, shape: $pshape, example: $pexample, standard: $pstandard, mask: Some($mask) },)+
                    $(Self::$open => Entry { key: $okey, zh: $ozh, en: $oen, class: Class::Open, shape: $oshape, example: $oexample, standard: $ostandard, mask: None },)+
                }
            }
        }

        /// The kinds of personal data as types.
        pub mod kinds {
            $(#[doc = $pen]
            #[derive(Clone, PartialEq, Eq)]
            pub struct $kind(::zeroize::Zeroizing<String>);
            impl $crate::kind::Pii for $kind {
                const FIELD: super::Field = super::Field::$kind;
                fn parse(raw: &str) -> Result<Self, $crate::kind::Invalid> { $parse(raw).map(|text| Self(::zeroize::Zeroizing::new(text))) }
                fn expose(&self) -> &str { &self.0 }
            }
            impl ::std::fmt::Debug for $kind {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result { f.write_str(concat!("<", $pkey, ">")) }
            })+
        }
    };
}
pub(crate) use dictionary;
