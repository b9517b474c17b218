//! Reading the bytes of a sealed value.
use entity::vault::Sealed;
use policy::field::kinds::Phone;

fn read(sealed: &Sealed<Phone>) -> &[u8] {
    sealed.bytes()
}

fn main() {}
