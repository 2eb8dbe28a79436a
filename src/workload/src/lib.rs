//! An agent's cache: updates in, views and renewals out. Pure. Floor 2.
