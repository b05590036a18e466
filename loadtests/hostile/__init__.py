"""What good clients notice while somebody is hostile: a client, an app, or a peer of the admin listener."""
