//! Reading a value that is not personal without asking the session.
use entity::customer::Customer;

fn number(customer: &Customer) -> String {
    customer.number().value
}

fn main() {}
