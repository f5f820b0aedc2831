"""People: accounts, sessions in cookies, and the two decorators that demand them.

::

    class FleetHandler(BaseHandler):
        @user_authenticated
        async def get(self):
            self.write_json({"owner": self.current_user.email})

        @admin_authenticated
        async def delete(self): ...
"""

from station.auth.decorators import admin_authenticated, user_authenticated

__all__ = ["admin_authenticated", "user_authenticated"]
