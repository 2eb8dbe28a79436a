//! What an administrator may do to signing keys by hand. The state machine says
//! what is allowed; each act is recorded with who did it.

use authority::rotation::Event;
use records::AuthorityProfile;

use super::rows::Rotor;
use super::{Authorities, KeyStatus};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};

impl Authorities {
    /// Makes and publishes a successor now, if there is none yet; returns it.
    ///
    /// # Errors
    /// It cannot be done now.
    pub(crate) async fn prepare(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
    ) -> Result<KeyStatus, Failure> {
        self.send(caller, profile, |_| Ok(Event::PrepareNow))
            .await?;
        self.in_state(profile, &["published", "prepared"])
            .ok_or_else(|| Failure::unavailable("no successor could be made now; try again"))
    }

    /// Lets a published key sign now, without waiting for anybody.
    ///
    /// # Errors
    /// There is no such key, or it is not published.
    pub(crate) async fn activate(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<KeyStatus, Failure> {
        self.send(caller, profile, |rotor| {
            Ok(Event::ActivateNow {
                slot: slot(rotor, id)?,
            })
        })
        .await?;
        self.named(profile, id)
    }

    /// No longer relies on a key: holders replace what it signed.
    ///
    /// # Errors
    /// There is no such key.
    pub(crate) async fn taint(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<(), Failure> {
        self.send(caller, profile, |rotor| {
            Ok(Event::Taint {
                slot: slot(rotor, id)?,
            })
        })
        .await
    }

    /// Removes a retired or unused key from the bundle now, whatever it signed.
    ///
    /// # Errors
    /// There is no such key, or it is the active one.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<(), Failure> {
        self.send(caller, profile, |rotor| {
            Ok(Event::Revoke {
                slot: slot(rotor, id)?,
            })
        })
        .await
    }

    fn in_state(&self, profile: AuthorityProfile, states: &[&str]) -> Option<KeyStatus> {
        let status = self.status();
        let mut keys = status.iter().filter(|key| key.profile == profile);
        keys.find(|key| states.contains(&key.state)).cloned()
    }

    fn named(&self, profile: AuthorityProfile, id: &str) -> Result<KeyStatus, Failure> {
        let status = self.status();
        let mut keys = status.iter().filter(|key| key.profile == profile);
        keys.find(|key| key.id == id)
            .cloned()
            .ok_or_else(no_such_key)
    }
}

fn slot(rotor: &Rotor, id: &str) -> Result<u64, Failure> {
    rotor.slot_named(id).ok_or_else(no_such_key)
}

fn no_such_key() -> Failure {
    Failure::new(
        Kind::NotFound,
        "no signing key of this server has that id; see its key states",
    )
}
