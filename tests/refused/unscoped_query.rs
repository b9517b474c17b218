//! Running a query on no tenant's scope.
use entity::Store;

async fn all(store: &Store) {
    let _ = store.registry();
    let _ = store.read(todo!()).await;
}

fn main() {}
