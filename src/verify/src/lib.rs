//! What a relying party needs: checks X.509-SVIDs and JWT-SVIDs. Floor 1.
