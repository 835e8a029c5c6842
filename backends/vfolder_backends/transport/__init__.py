"""One way to talk to an array's management interface, the same for all of them.

    messages   what is asked and what is answered
    wire       the only module that knows the HTTP library
    tls        which certificates are trusted
    redact     no secret in a text
    breaker    an array that does not answer is left alone for a while
    sessions   logging in, renewing, for many callers at once
    refusals   what a vendor's answer means in our errors
    retries    what may be sent again
    channel    all of it together: one object per array
    paging     lists that yield as they are read
    parsing    answers into models, missing fields by name

Vendors use `Channel`, `pages`, `parse` and the words of `messages`, `sessions` and `refusals`.
"""
