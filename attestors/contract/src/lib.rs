//! What an attestor is: Prove, Verify, Inspect, and the battery each must pass. Floor 1.
