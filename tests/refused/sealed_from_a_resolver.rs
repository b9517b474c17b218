//! Returning a sealed value from a resolver.
use async_graphql::Object;
use entity::vault::Sealed;
use policy::field::kinds::Phone;

struct Customer(Sealed<Phone>);

#[Object]
impl Customer {
    async fn phone(&self) -> &Sealed<Phone> {
        &self.0
    }
}

fn main() {}
