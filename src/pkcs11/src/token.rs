//! The token itself: the library, the slot it is in, the login, and finding all of
//! that again after the token went away.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::limits;
use crate::session::Pool;

pub(crate) struct Token {
    library: Pkcs11,
    label: String,
    pin: RawAuthPin,
    /// Once refused a PIN is not tried again: a few more times would lock the token.
    pin_refused: AtomicBool,
    pub(crate) sessions: Pool,
    /// Where it is, with a session that keeps the login alive.
    place: Mutex<Option<Place>>,
}

struct Place {
    slot: Slot,
    _login: Session,
}

impl Token {
    pub(crate) fn open(
        module: &Path,
        label: &str,
        pin: &Zeroizing<Vec<u8>>,
        sessions: u16,
    ) -> Result<Self, Fault> {
        if pin.is_empty() || pin.len() > limits::MAX_PIN_BYTES {
            return Err(Fault::Refused("the PIN must have 1 to 255 bytes".into()));
        }
        let library = Pkcs11::new(module)
            .map_err(|error| Fault::Refused(format!("{}: {error}", module.display())))?;
        let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match library.initialize(locking) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let token = Self {
            library,
            label: label.to_owned(),
            pin: RawAuthPin::new(Box::new(pin.to_vec())),
            pin_refused: AtomicBool::new(false),
            sessions: Pool::new(sessions),
            place: Mutex::new(None),
        };
        token.slot()?;
        Ok(token)
    }

    /// Runs an operation with a session. When the token turns out to be lost, it is
    /// found again and the operation tried once more.
    pub(crate) fn with<T>(
        &self,
        operation: impl Fn(&Session, u64) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.repeat(|| {
            let busy = || Fault::Away("all sessions with the token stay in use".into());
            let mut lent = self.sessions.lend().ok_or_else(|| (busy(), 0))?;
            let generation = lent.generation;
            let done = lent
                .session(|| self.open_session(false))
                .and_then(|session| operation(session, generation));
            if done.is_err() {
                lent.spoil();
            }
            done.map_err(|fault| (fault, generation))
        })
    }

    /// As [`Token::with`], with a session of its own that may write.
    pub(crate) fn with_writing<T>(
        &self,
        operation: impl Fn(&Session) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.repeat(|| {
            let generation = self.sessions.generation();
            let done = self
                .open_session(true)
                .and_then(|session| operation(&session));
            done.map_err(|fault| (fault, generation))
        })
    }

    /// As [`Token::with_writing`], but never tried again: what was lost half way may
    /// have been done.
    pub(crate) fn write_once<T>(
        &self,
        operation: impl Fn(&Session) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        operation(&self.open_session(true)?)
    }

    fn repeat<T>(&self, attempt: impl Fn() -> Result<T, (Fault, u64)>) -> Result<T, Fault> {
        let mut tries = 1;
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err((Fault::Lost(why), generation)) if tries < limits::TRIES => {
                    tracing::warn!(token = self.label, why, "token is looked for again");
                    self.lose(generation);
                    tries += 1;
                }
                Err((fault, _)) => return Err(fault),
            }
        }
    }

    fn open_session(&self, writing: bool) -> Result<Session, Fault> {
        let slot = self.slot()?;
        let opened = if writing {
            self.library.open_rw_session(slot)
        } else {
            self.library.open_ro_session(slot)
        };
        opened.map_err(Fault::from)
    }

    /// Forgets where the token was, once for all who noticed at the same time.
    fn lose(&self, generation: u64) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sessions.generation() == generation {
            *place = None;
            self.sessions.renew();
        }
    }

    /// Where the token is, looked for and logged in to if that is not known.
    fn slot(&self) -> Result<Slot, Fault> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = &*place {
            return Ok(place.slot);
        }
        let slot = self.find()?;
        let session = self.library.open_ro_session(slot)?;
        self.login(&session)?;
        *place = Some(Place {
            slot,
            _login: session,
        });
        Ok(slot)
    }

    /// The one slot whose token has the label.
    fn find(&self) -> Result<Slot, Fault> {
        let mut found = None;
        for slot in self.library.get_slots_with_initialized_token()? {
            // A slot may be emptied while we look.
            let Ok(token) = self.library.get_token_info(slot) else {
                continue;
            };
            if token.label() != self.label {
                continue;
            }
            if found.replace(slot).is_some() {
                let why = format!("more than one token is labelled {:?}", self.label);
                return Err(Fault::Refused(why));
            }
        }
        found.ok_or_else(|| Fault::Away(format!("no token is labelled {:?}", self.label)))
    }

    fn login(&self, session: &Session) -> Result<(), Fault> {
        const NOT_AGAIN: &str = "it refused the PIN, which is not tried again lest it be locked; \
             put the right PIN in and restart the server";
        if self.pin_refused.load(Ordering::Acquire) {
            return Err(Fault::Refused(NOT_AGAIN.into()));
        }
        match session.login_with_raw(UserType::User, &self.pin) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                code @ (RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked
                | RvError::UserPinNotInitialized),
                _,
            )) => {
                self.pin_refused.store(true, Ordering::Release);
                tracing::error!(token = self.label, ?code, "token refused the PIN");
                Err(Fault::Refused(NOT_AGAIN.into()))
            }
            Err(error) => Err(error.into()),
        }
    }
}
