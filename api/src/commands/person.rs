//! The rights of a person at the terminal. The officer's role, the officer's purpose, and in the log like a request.

use std::path::PathBuf;

use clap::Subcommand;
use entity::customer::{By, Columns, Customer, find};
use entity::{Change, erasure, rights};

use super::desk::Desk;
use super::rows::write_whole;
use super::{print, say};
use crate::config::Config;
use crate::error::Stop;
use crate::person;

/// The rights of a person.
#[derive(Subcommand)]
pub enum Person {
    /// Find a customer's number by phone or e-mail. Every search is in the log and has a budget.
    Find {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The mobile number.
        #[arg(long, required_unless_present = "email")]
        phone: Option<String>,
        /// The e-mail address.
        #[arg(long, conflicts_with = "phone")]
        email: Option<String>,
    },
    /// Write all that is held about a person, in the clear, with who has seen it: JSON, or CSV when the file is called so.
    Copy {
        /// The customer's number.
        number: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Where to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Write down that a customer gave or withdrew consent to a purpose.
    Consent {
        /// The customer's number.
        number: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// To what.
        #[arg(long)]
        purpose: String,
        /// The version of the text that was consented to.
        #[arg(long, default_value = "")]
        version: String,
        /// Withdrawn, not given.
        #[arg(long)]
        withdrawn: bool,
    },
    /// Restrict a customer's data to storage: every role sees nothing of it.
    Restrict {
        /// The customer's number.
        number: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Lift the restriction.
        #[arg(long)]
        lift: bool,
    },
    /// Erase a person: the keys of everything that tells of them are destroyed. Cannot be undone. Prints the certificate.
    Erase {
        /// The customer's number.
        number: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Print the certificates of erasures.
    Certificates {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Of this customer number.
        #[arg(long)]
        number: Option<String>,
    },
}

/// Writes about the customer of a number.
async fn write<T>(
    config: &Config,
    tenant: &str,
    name: &str,
    number: &str,
    work: impl AsyncFnOnce(&Change, Customer) -> Result<T, entity::Error>,
) -> Result<T, Stop> {
    let about = async |change: &Change| {
        let customer = find(change, By::Number(number.to_owned()), Columns::ALL).await?.ok_or(entity::Error::NotFound)?;
        work(change, customer).await
    };
    Desk::officer(config, tenant).await?.write(name, about).await
}

impl Person {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::Find { tenant, phone, email } => {
                let by = match (phone, email) {
                    (Some(phone), _) => By::Phone(phone),
                    (None, email) => By::Email(email.unwrap_or_default()),
                };
                let found = Desk::officer(config, &tenant)
                    .await?
                    .look("Person.find", async |session| Ok(find(&session, by, Columns::ALL).await?.and_then(|customer| session.tell(customer.number()))))
                    .await?;
                match found {
                    Some(number) => print(&format!("{number}\n")),
                    None => Err(Stop::new("not found")),
                }
            }
            Self::Copy { number, tenant, out } => {
                let copy = Desk::officer(config, &tenant)
                    .await?
                    .look("Person.copy", async |session| {
                        let customer = find(&session, By::Number(number), Columns::ALL).await?.ok_or(entity::Error::NotFound)?;
                        person::copy(&session, &customer).await
                    })
                    .await?;
                let csv = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
                let text = if csv { person::csv(&copy)? } else { format!("{copy:#}\n") };
                write_whole(&out, text.as_bytes())?;
                say(&format!("{} holds personal data in the clear; hand it over and delete it", out.display()));
                Ok(())
            }
            Self::Consent { number, tenant, purpose, version, withdrawn } => {
                write(config, &tenant, "Person.consent", &number, async |change, customer| {
                    rights::consent(change, customer.id(), &purpose, &version, !withdrawn).await
                })
                .await?;
                print(&format!("{number}: consent to {purpose} {}\n", if withdrawn { "withdrawn; the purpose is closed" } else { "given" }))
            }
            Self::Restrict { number, tenant, reason, lift } => {
                let restrict = async |change: &Change, customer: Customer| rights::restrict(change, customer.id(), !lift, &reason).await;
                write(config, &tenant, "Person.restrict", &number, restrict).await?;
                print(&format!("{number}: {}\n", if lift { "the restriction is lifted" } else { "stored and nothing else" }))
            }
            Self::Erase { number, tenant, reason } => {
                let certificate =
                    write(config, &tenant, "Person.erase", &number, async |change, customer| erasure::erase(change, customer.id(), &reason).await).await?;
                print(&format!("{:#}\n", serde_json::json!(certificate)))
            }
            Self::Certificates { tenant, number } => {
                let all = Desk::officer(config, &tenant)
                    .await?
                    .look("Person.certificates", async |session| erasure::certificates(&session, number.as_deref()).await)
                    .await?;
                print(&format!("{:#}\n", serde_json::json!(all)))
            }
        }
    }
}
