//! Opening a guarded value without a session.
use entity::Guarded;
use entity::vault::Keyring;
use policy::field::kinds::Phone;

fn open(keys: &Keyring, value: &Guarded<Phone>) -> String {
    keys.record(value.table, value.row, value.record_key).open(&value.sealed)
}

fn main() {}
