"""The sample company: what a new sandbox holds before the first request."""

from __future__ import annotations

from decimal import Decimal

from qbo_sink.sandbox import rates
from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.switches import Switches
from qbo_sink.sandbox.values import Json, write_json
from qbo_sink.sandbox.writes import Writer

ZONES = {"US": "America/Los_Angeles", "GB": "Europe/London"}
CURRENCIES = {
    "US": {"value": "USD", "name": "United States Dollar"},
    "GB": {"value": "GBP", "name": "British Pound Sterling"},
}
# (name, percent) of the tax codes; in US companies the first is the home region's.
TAXES = {
    "US": (("California", "8"), ("Tucson", "8.6")),
    "GB": (("20.0% S", "20"), ("5.0% R", "5"), ("0.0% Z", "0")),
}
# (Id, name, type, subtype); clients' own examples know some of a sample company's Ids by heart.
_ACCOUNTS = (
    ("1", "Office Expenses", "Expense", "OfficeGeneralAdministrativeExpenses"),
    ("2", "Retained Earnings", "Equity", "RetainedEarnings"),
    ("33", "Accounts Payable (A/P)", "Accounts Payable", "AccountsPayable"),
    ("34", "Opening Balance Equity", "Equity", "OpeningBalanceEquity"),
    ("35", "Checking", "Bank", "Checking"),
    ("36", "Savings", "Bank", "Savings"),
    ("41", "Company Card", "Credit Card", "CreditCard"),
    ("42", "Fuel Card", "Credit Card", "CreditCard"),
    ("45", "Services", "Income", "ServiceFeeIncome"),
    ("79", "Sales of Product Income", "Income", "SalesOfProductIncome"),
    ("80", "Cost of Goods Sold", "Cost of Goods Sold", "SuppliesMaterialsCogs"),
    ("81", "Inventory Asset", "Other Current Asset", "Inventory"),
    ("84", "Accounts Receivable (A/R)", "Accounts Receivable", "AccountsReceivable"),
    ("85", "Shipping Income", "Income", "OtherPrimaryIncome"),
    ("86", "Discounts given", "Income", "DiscountsRefundsGiven"),
    ("87", "Undeposited Funds", "Other Current Asset", "UndepositedFunds"),
    ("90", "Sales Tax Payable", "Other Current Liability", "SalesTaxPayable"),
)
_CUSTOMERS = (
    ("Harbour Deli", "Ana", "Ruiz", "orders@harbourdeli.example", "12 Quay Street"),
    ("Corner Grocery", "Bo", "Lind", "bo@cornergrocery.example", "3 Market Place"),
    ("Hillside School Kitchen", "Chi", "Okafor", "kitchen@hillside.example", "Hill Road 40"),
    ("Old Mill Restaurant", "Dana", "Weiss", "mill@oldmill.example", "1 Mill Lane"),
    ("Station Cafe", "Eli", "Moreau", "hello@stationcafe.example", "Platform 2"),
)
# (name, SKU, price, description, type)
_ITEMS = (
    ("Cheddar", "CH-100", "14.5", "Cheddar, catch weight", "NonInventory"),
    ("Butter 250 g", "BU-250", "2.35", "Butter, salted, 250 g", "NonInventory"),
    ("Oat Milk 1 l", "OM-1", "1.8", "Oat milk, 1 l carton", "NonInventory"),
    ("Sourdough Loaf", "SD-1", "3.9", "Sourdough loaf, 800 g", "NonInventory"),
    ("Delivery", "SRV-DEL", "12", "Delivery by van", "Service"),
    ("Olive Oil 5 l", "OO-5", "38", "Olive oil, 5 l canister", "Inventory"),
    ("Basmati Rice 10 kg", "RI-10", "21.25", "Basmati rice, 10 kg sack", "Inventory"),
    ("Espresso Beans 1 kg", "ES-1", "17.4", "Espresso beans, 1 kg", "Inventory"),
    ("Mixed Crate", "MX-1", "27", "Seasonal fruit and vegetables", "NonInventory"),
    ("Tasting", "SRV-TAS", "35", "Tasting for one hour", "Service"),
)
_METHODS = ("Cash", "Check", "Visa", "Transfer")


def seed(books: Books, realm: str, country: str) -> Company:
    """Create the company ``realm`` with its sample lists. Call once per realm."""
    with books.atomic():
        books.put_company(realm, country=country, zone=ZONES[country], suspended=False)
        company = books.company(realm)
        if company is None:
            raise LookupError(realm)
        _singles(books, company)
        _taxes(books, company)
        rates.seed(books, company, CURRENCIES[country]["value"])
        writer = Writer(books, company, Switches())
        for entity, body, new_id in _lists(company):
            writer.save(ENTITIES[entity], body, write_json(body), new_id=new_id)
        for entity, body in _made_elsewhere():
            books.put(company, ENTITIES[entity], body)
    return company


def _singles(books: Books, company: Company) -> None:
    books.put(company, ENTITIES["CompanyInfo"], _company_info(company))
    books.put(company, ENTITIES["Preferences"], _preferences(company))


def _company_info(company: Company) -> Json:
    region = "CA" if company.is_us else "Greater London"
    address = {"Id": "1", "Line1": "100 Sample Road", "City": "Sampleton"}
    address |= {"CountrySubDivisionCode": region, "Country": company.country}
    return {
        "Id": "1",
        "CompanyName": "Sample Wholesale Foods",
        "LegalName": "Sample Wholesale Foods",
        "CompanyAddr": address,
        "LegalAddr": address,
        "CustomerCommunicationAddr": address,
        "CompanyStartDate": "2020-01-01",
        "FiscalYearStartMonth": "January",
        "Country": company.country,
        "Email": {"Address": "office@sample-wholesale.example"},
        "PrimaryPhone": {"FreeFormNumber": "(555) 010-0000"},
        "SupportedLanguages": "en",
        "DefaultTimeZone": company.zone.key,
        "NameValue": [
            {"Name": "OfferingSku", "Value": "QuickBooks Online Plus"},
            {"Name": "SubscriptionStatus", "Value": "SUBSCRIBED"},
            {"Name": "NeoEnabled", "Value": "true"},
        ],
    }


def _preferences(company: Company) -> Json:
    home = CURRENCIES[company.country]
    return {
        "Id": "1",
        "EmailMessagesPrefs": {
            "InvoiceMessage": {"Subject": "Invoice", "Message": "Your invoice is attached."},
            "EstimateMessage": {"Subject": "Estimate", "Message": "Your estimate is attached."},
            "SalesReceiptMessage": {"Subject": "Receipt", "Message": "Your receipt is attached."},
            "StatementMessage": {"Subject": "Statement", "Message": "Your statement is attached."},
        },
        "ProductAndServicesPrefs": {
            "ForSales": True,
            "ForPurchase": True,
            "QuantityWithPriceAndRate": True,
            "QuantityOnHand": True,
        },
        "ReportPrefs": {"ReportBasis": "Accrual", "CalcAgingReportFromTxnDate": False},
        "AccountingInfoPrefs": {
            "FirstMonthOfFiscalYear": "January",
            "UseAccountNumbers": False,
            "TaxYearMonth": "January",
            "ClassTrackingPerTxn": False,
            "ClassTrackingPerTxnLine": True,
            "TrackDepartments": True,
            "DepartmentTerminology": "Location",
            "CustomerTerminology": "Customers",
        },
        "SalesFormsPrefs": {
            "CustomTxnNumbers": True,
            "AllowEstimates": True,
            "AllowDiscount": True,
            "AllowShipping": True,
            "AllowServiceDate": False,
            "AllowDeposit": True,
            "UsingProgressInvoicing": False,
            "CustomField": _custom_fields(),
        },
        "VendorAndPurchasesPrefs": {"BillableExpenseTracking": True, "TrackingByCustomer": True},
        "TaxPrefs": {
            "UsingSalesTax": True,
            "PartnerTaxEnabled": company.is_us,
            "TaxGroupCodeRef": {"value": "2"},
        },
        "TimeTrackingPrefs": {
            "UseServices": True,
            "BillCustomers": True,
            "ShowBillRateToAll": False,
            "WorkWeekStartDate": "Monday",
            "MarkTimeEntriesBillable": True,
        },
        "CurrencyPrefs": {"MultiCurrencyEnabled": False, "HomeCurrency": home},
        "OtherPrefs": {"NameValue": _other_preferences()},
    }


def _other_preferences() -> list[Json]:
    message = "Thank you for your business and have a great day!"
    return [
        {"Name": "SalesFormsPrefs.DefaultCustomerMessage", "Value": message},
        {"Name": "SalesFormsPrefs.DefaultItem", "Value": "1"},
    ]


def _custom_fields() -> list[Json]:
    on = {"Name": "SalesFormsPrefs.UseSalesCustom1", "Type": "BooleanType", "BooleanValue": True}
    name = {"Name": "SalesFormsPrefs.SalesCustomName1", "Type": "StringType", "StringValue": "Rep"}
    return [{"CustomField": [on]}, {"CustomField": [name]}]


def _taxes(books: Books, company: Company) -> None:
    for position, (name, percent) in enumerate(TAXES[company.country], start=2):
        rate: Json = {
            "Id": str(position),
            "Name": name,
            "Active": True,
            "RateValue": Decimal(percent),
        }
        rate |= {
            "Description": name,
            "AgencyRef": {"value": "1"},
            "SpecialTaxType": "NONE",
            "DisplayType": "ReadOnly",
            "EffectiveTaxRate": [{"RateValue": Decimal(percent), "EffectiveDate": "2020-01-01"}],
        }
        row: Json = {"TaxRateRef": {"value": str(position), "name": name}}
        row |= {"TaxTypeApplicable": "TaxOnAmount", "TaxOrder": 0}
        code: Json = {"Id": str(position), "Name": name, "Description": name, "Active": True}
        code |= {
            "Hidden": False,
            "Taxable": True,
            "TaxGroup": True,
            "SalesTaxRateList": {"TaxRateDetail": [row]},
            "PurchaseTaxRateList": {"TaxRateDetail": []},
        }
        books.put(company, ENTITIES["TaxRate"], rate)
        books.put(company, ENTITIES["TaxCode"], code)


def _lists(company: Company) -> list[tuple[str, Json, str]]:
    """(entity, body, wanted Id) in the order of creation; no Id: the next one."""
    rows: list[tuple[str, Json, str]] = [
        ("Account", {"Name": name, "AccountType": kind, "AccountSubType": subtype}, id_)
        for id_, name, kind, subtype in _ACCOUNTS
    ]
    rows += [("Customer", _customer(company, customer), "") for customer in _CUSTOMERS]
    rows += [("Item", _item(*item), "") for item in _ITEMS]
    rows += [(entity, body, "") for entity, body in _others()]
    return rows


def _customer(company: Company, row: tuple[str, str, str, str, str]) -> Json:
    name, given, family, mail, street = row
    region = "CA" if company.is_us else "Greater London"
    address = {"Line1": street, "City": "Sampleton", "CountrySubDivisionCode": region}
    address |= {"PostalCode": "94000" if company.is_us else "SA1 1AA"}
    body: Json = {"DisplayName": name, "CompanyName": name, "GivenName": given}
    body |= {"FamilyName": family, "PrimaryEmailAddr": {"Address": mail}}
    return body | {"BillAddr": address, "ShipAddr": address}


def _item(name: str, sku: str, price: str, text: str, kind: str) -> Json:
    body: Json = {"Name": name, "Sku": sku, "Description": text, "Type": kind}
    body |= {"UnitPrice": Decimal(price), "Taxable": kind != "Service"}
    body |= {"IncomeAccountRef": {"value": "79" if kind != "Service" else "45"}}
    if kind == "Inventory":
        body |= {"AssetAccountRef": {"value": "81"}, "ExpenseAccountRef": {"value": "80"}}
        body |= {"TrackQtyOnHand": True, "QtyOnHand": 100, "InvStartDate": "2020-01-01"}
    return body


def _others() -> list[tuple[str, Json]]:
    rows: list[tuple[str, Json]] = [("PaymentMethod", {"Name": name}) for name in _METHODS]
    rows += [
        ("Payment", {"CustomerRef": {"value": str(number)}, "TotalAmt": Decimal(10 * number)})
        for number in range(1, 6)
    ]
    return [
        *rows,
        ("Term", {"Name": "Due on receipt", "DueDays": 0}),
        ("Term", {"Name": "Net 15", "DueDays": 15}),
        ("Term", {"Name": "Net 30", "DueDays": 30}),
        ("TaxAgency", {"DisplayName": "Tax Agency", "TaxTrackedOnSales": True}),
        ("CompanyCurrency", {"Name": "Canadian Dollar", "Code": "CAD"}),
        ("CompanyCurrency", {"Name": "Euro", "Code": "EUR"}),
        ("Vendor", {"DisplayName": "Dairy Cooperative"}),
        ("Vendor", {"DisplayName": "Bakery North"}),
        ("Employee", {"GivenName": "Rep", "FamilyName": "Seven"}),
        ("Employee", {"GivenName": "Rep", "FamilyName": "Eight"}),
        ("Class", {"Name": "Retail"}),
        ("Class", {"Name": "Catering"}),
        ("Department", {"Name": "Main Store"}),
        *_office_work(),
    ]


def _made_elsewhere() -> list[tuple[str, Json]]:
    """What users make in the product and the API only reads."""
    month = {"Amount": Decimal(100), "AccountRef": {"value": "1", "name": "Office Expenses"}}
    budget: Json = {"Name": "Office 2026", "BudgetType": "ProfitAndLoss", "Active": True}
    budget |= {"StartDate": "2026-01-01", "EndDate": "2026-12-31", "BudgetEntryType": "Monthly"}
    budget["BudgetDetail"] = [
        {"BudgetDate": f"2026-{number:02d}-01", **month} for number in range(1, 13)
    ]
    types = [("CustomerType", {"Name": name, "Active": True}) for name in ("Retail", "Kitchens")]
    return [("Budget", budget), *types]


def _office_work() -> list[tuple[str, Json]]:
    """What an office has entered itself: a bill, a credit memo, a journal entry, a purchase."""
    spent: Json = {"DetailType": "AccountBasedExpenseLineDetail", "Amount": Decimal("84.5")}
    spent["AccountBasedExpenseLineDetail"] = {"AccountRef": {"value": "1"}}
    credited: Json = {"DetailType": "SalesItemLineDetail", "Amount": Decimal("14.5")}
    credited["SalesItemLineDetail"] = {"ItemRef": {"value": "1"}, "Qty": 1, "UnitPrice": "14.5"}
    posted = [
        {
            "DetailType": "JournalEntryLineDetail",
            "Amount": Decimal(20),
            "JournalEntryLineDetail": {"PostingType": side, "AccountRef": {"value": account}},
        }
        for side, account in (("Debit", "1"), ("Credit", "35"))
    ]
    untaxed = {"GlobalTaxCalculation": "NotApplicable"}
    paid = {"PaymentType": "CreditCard", "AccountRef": {"value": "42"}, "Line": [spent]}
    return [
        ("Bill", {"VendorRef": {"value": "1"}, "Line": [spent], "DocNumber": "DC-2201"}),
        ("CreditMemo", {**untaxed, "CustomerRef": {"value": "1"}, "Line": [credited]}),
        ("JournalEntry", {"Line": posted, "PrivateNote": "Opening of the petty cash"}),
        ("Purchase", {**paid, "EntityRef": {"value": "1", "type": "Vendor"}}),
    ]
