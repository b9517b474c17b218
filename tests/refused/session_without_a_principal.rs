//! Opening a session without a principal, or making a principal up.
use entity::{House, Operation, Principal, Session};

async fn open(house: &House) {
    let _ = Session::run(house, Operation::new("query", "x"), async |_| ()).await;
    let _ = Session { scope: todo!() };
    let _ = Principal { subject: "root".to_owned() };
}

fn main() {}
