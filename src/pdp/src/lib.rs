//! Decides by Cedar policies what a token may do, and says why. Pure, floor 2.
