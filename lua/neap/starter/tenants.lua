-- Who may call. While it is empty everybody is the tenant "anonymous", and neap listens on loopback alone.
-- `neap key new --tenant acme` prints a key to give away, and the line for this file.
return {}
