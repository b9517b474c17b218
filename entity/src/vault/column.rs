//! Column types for sealed values and blind indexes. They show nothing: no accessor, no `Display`, no `Serialize`.

use std::fmt;
use std::marker::PhantomData;

use policy::Pii;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ActiveValue, ColIdx, IntoActiveValue, QueryResult, TryGetError, TryGetable, Value};

/// A sealed value of one kind. Opens only in the session, in its place.
pub struct Sealed<K> {
    bytes: Vec<u8>,
    kind: PhantomData<fn() -> K>,
}

/// A keyed hash by which rows with an equal value are found. As sensitive as what it is computed from.
pub struct BlindIndex<K> {
    bytes: Vec<u8>,
    kind: PhantomData<fn() -> K>,
}

/// What a column type of bytes needs; `DeriveValueType` knows no generics.
macro_rules! bytes_column {
    ($name:ident) => {
        impl<K> $name<K> {
            pub(crate) const fn of(bytes: Vec<u8>) -> Self {
                Self { bytes, kind: PhantomData }
            }
            pub(crate) fn bytes(&self) -> &[u8] {
                &self.bytes
            }
        }
        impl<K> Clone for $name<K> {
            fn clone(&self) -> Self {
                Self::of(self.bytes.clone())
            }
        }
        impl<K> PartialEq for $name<K> {
            fn eq(&self, other: &Self) -> bool {
                self.bytes == other.bytes
            }
        }
        impl<K> Eq for $name<K> {}
        impl<K: Pii> fmt::Debug for $name<K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "<{} of {}>", stringify!($name), K::FIELD.entry().key)
            }
        }
        impl<K> From<$name<K>> for Value {
            fn from(column: $name<K>) -> Self {
                Self::Bytes(Some(column.bytes))
            }
        }
        impl<K> TryGetable for $name<K> {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                Vec::<u8>::try_get_by(row, index).map(Self::of)
            }
        }
        impl<K> ValueType for $name<K> {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                <Vec<u8> as ValueType>::try_from(value).map(Self::of)
            }
            fn type_name() -> String {
                stringify!($name).to_owned()
            }
            fn array_type() -> ArrayType {
                ArrayType::Bytes
            }
            fn column_type() -> ColumnType {
                <Vec<u8> as ValueType>::column_type()
            }
        }
        impl<K> Nullable for $name<K> {
            fn null() -> Value {
                Value::Bytes(None)
            }
        }
        impl<K> IntoActiveValue<Self> for $name<K> {
            fn into_active_value(self) -> ActiveValue<Self> {
                ActiveValue::Set(self)
            }
        }
    };
}
bytes_column!(Sealed);
bytes_column!(BlindIndex);
