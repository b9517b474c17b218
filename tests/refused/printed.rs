//! Printing a personal value or a keyring.
use entity::vault::{Keyring, Sealed};
use policy::field::kinds::Phone;

fn print(keys: &Keyring, phone: &Phone, sealed: &Sealed<Phone>) {
    println!("{keys} {phone} {sealed}");
    let _ = serde_json::to_string(sealed);
}

fn main() {}
