"""The service of good clients during attacks by a client, an app, or a peer of the admin listener."""
