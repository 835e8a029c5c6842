"""kopf's side: what happens in the cluster becomes a key in the queue. No decisions here."""
