"""Which handler carries out which command. A new command adds its line here."""

from __future__ import annotations

from pymap.imap.acl import delete_acl, get_acl, list_rights, my_rights, set_acl
from pymap.imap.append import append
from pymap.imap.compress import compress
from pymap.imap.contexts import cancel_update
from pymap.imap.copy import copy, move
from pymap.imap.esearch import esearch
from pymap.imap.expunge import close, expunge, unselect
from pymap.imap.fetch import fetch
from pymap.imap.idle import idle
from pymap.imap.language import language
from pymap.imap.list import list_, lsub, rlist, rlsub
from pymap.imap.login import (
    authenticate,
    capability,
    check,
    enable,
    id_,
    login,
    logout,
    noop,
    start_tls,
    unauthenticate,
)
from pymap.imap.mailboxes import (
    create,
    delete,
    namespace,
    rename,
    status,
    subscribe,
    unsubscribe,
)
from pymap.imap.metadata import get_metadata, set_metadata
from pymap.imap.notify import notify
from pymap.imap.quota import getquota, getquotaroot, setquota
from pymap.imap.replace import replace
from pymap.imap.search import search
from pymap.imap.select import select
from pymap.imap.session import Handler
from pymap.imap.sort import sort
from pymap.imap.store import store
from pymap.imap.thread import thread
from pymap.imap.uid_batches import uid_batches
from pymap.imap.urlauth import gen_url_auth, reset_key
from pymap.imap.urlfetch import url_fetch
from pymap.wire import commands as c

__all__ = ["HANDLERS"]

HANDLERS: dict[type[c.Command], Handler] = {
    c.Capability: capability,
    c.Noop: noop,
    c.Logout: logout,
    c.Id: id_,
    c.Language: language,
    c.StartTls: start_tls,
    c.Authenticate: authenticate,
    c.Login: login,
    c.Unauthenticate: unauthenticate,
    c.Enable: enable,
    c.Compress: compress,
    c.Select: select,
    c.Create: create,
    c.Delete: delete,
    c.Rename: rename,
    c.Subscribe: subscribe,
    c.Unsubscribe: unsubscribe,
    c.List: list_,
    c.Lsub: lsub,
    c.RList: rlist,
    c.RLsub: rlsub,
    c.Namespace: namespace,
    c.Status: status,
    c.SetAcl: set_acl,
    c.DeleteAcl: delete_acl,
    c.GetAcl: get_acl,
    c.ListRights: list_rights,
    c.MyRights: my_rights,
    c.Notify: notify,
    c.GetMetadata: get_metadata,
    c.SetMetadata: set_metadata,
    c.GetQuota: getquota,
    c.GetQuotaRoot: getquotaroot,
    c.SetQuota: setquota,
    c.Append: append,
    c.GenUrlAuth: gen_url_auth,
    c.ResetKey: reset_key,
    c.UrlFetch: url_fetch,
    c.Idle: idle,
    c.Close: close,
    c.Unselect: unselect,
    c.Check: check,
    c.Expunge: expunge,
    c.UidBatches: uid_batches,
    c.Search: search,
    c.ESearch: esearch,
    c.CancelUpdate: cancel_update,
    c.Sort: sort,
    c.Thread: thread,
    c.Fetch: fetch,
    c.Store: store,
    c.Copy: copy,
    c.Move: move,
    c.Replace: replace,
}
