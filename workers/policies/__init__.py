"""Resolution policies: one file a family, arithmetic only; a policy is its own recipe entry."""
