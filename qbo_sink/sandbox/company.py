"""The sample company: what a new sandbox holds before the first request."""

from __future__ import annotations

from decimal import Decimal

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
_ACCOUNTS = (
    ("Sales", "Income", "SalesOfProductIncome"),
    ("Accounts Receivable (A/R)", "Accounts Receivable", "AccountsReceivable"),
    ("Inventory Asset", "Other Current Asset", "Inventory"),
    ("Cost of Goods Sold", "Cost of Goods Sold", "SuppliesMaterialsCogs"),
    ("Checking", "Bank", "Checking"),
    ("Accounts Payable (A/P)", "Accounts Payable", "AccountsPayable"),
    ("Company Card", "Credit Card", "CreditCard"),
    ("Office Expenses", "Expense", "OfficeGeneralAdministrativeExpenses"),
    ("Discounts given", "Income", "DiscountsRefundsGiven"),
    ("Shipping Income", "Income", "SalesOfProductIncome"),
    ("Undeposited Funds", "Other Current Asset", "UndepositedFunds"),
    ("Services", "Income", "ServiceFeeIncome"),
)
_CUSTOMERS = (
    ("Harbour Deli", "Ana", "Ruiz", "orders@harbourdeli.example", "12 Quay Street"),
    ("Corner Grocery", "Bo", "Lind", "bo@cornergrocery.example", "3 Market Place"),
    ("Hillside School Kitchen", "Chi", "Okafor", "kitchen@hillside.example", "Hill Road 40"),
    ("Old Mill Restaurant", "Dana", "Weiss", "mill@oldmill.example", "1 Mill Lane"),
    ("Station Cafe", "Eli", "Moreau", "hello@stationcafe.example", "Platform 2"),
)
_ITEMS = (
    ("Cheddar", "CH-100", "14.5", "Cheddar, catch weight"),
    ("Butter 250 g", "BU-250", "2.35", "Butter, salted, 250 g"),
    ("Oat Milk 1 l", "OM-1", "1.8", "Oat milk, 1 l carton"),
    ("Sourdough Loaf", "SD-1", "3.9", "Sourdough loaf, 800 g"),
    ("Delivery", "SRV-DEL", "12", "Delivery by van"),
)


def seed(books: Books, realm: str, country: str) -> Company:
    """Create the company ``realm`` with its sample lists. Call once per realm."""
    with books.atomic():
        books.put_company(realm, country=country, zone=ZONES[country], suspended=False)
        company = books.company(realm)
        if company is None:
            raise LookupError(realm)
        _singles(books, company)
        _taxes(books, company)
        writer = Writer(books, company, Switches())
        for entity, body in _lists(company):
            writer.save(ENTITIES[entity], body, write_json(body))
    return company


def _singles(books: Books, company: Company) -> None:
    home = CURRENCIES[company.country]
    region = "CA" if company.is_us else "Greater London"
    address = {"Id": "1", "Line1": "100 Sample Road", "City": "Sampleton"}
    address |= {"CountrySubDivisionCode": region, "Country": company.country}
    info: Json = {
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
        "WebAddr": {},
        "PrimaryPhone": {"FreeFormNumber": "(555) 010-0000"},
        "SupportedLanguages": "en",
        "DefaultTimeZone": company.zone.key,
        "NameValue": [
            {"Name": "OfferingSku", "Value": "QuickBooks Online Plus"},
            {"Name": "SubscriptionStatus", "Value": "SUBSCRIBED"},
            {"Name": "NeoEnabled", "Value": "true"},
        ],
    }
    preferences: Json = {
        "Id": "1",
        "EmailMessagesPrefs": {},
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
        "TimeTrackingPrefs": {"UseServices": True, "BillCustomers": True},
        "CurrencyPrefs": {"MultiCurrencyEnabled": False, "HomeCurrency": home},
        "OtherPrefs": {"NameValue": [{"Name": "SalesFormsPrefs.DefaultItem", "Value": "1"}]},
    }
    books.put(company, ENTITIES["CompanyInfo"], info)
    books.put(company, ENTITIES["Preferences"], preferences)


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


def _lists(company: Company) -> list[tuple[str, Json]]:
    rows: list[tuple[str, Json]] = [
        ("Account", {"Name": name, "AccountType": kind, "AccountSubType": subtype})
        for name, kind, subtype in _ACCOUNTS
    ]
    rows += [
        ("Term", {"Name": "Due on receipt", "DueDays": 0}),
        ("Term", {"Name": "Net 15", "DueDays": 15}),
        ("Term", {"Name": "Net 30", "DueDays": 30}),
    ]
    region = "CA" if company.is_us else "Greater London"
    for name, given, family, mail, street in _CUSTOMERS:
        address = {"Line1": street, "City": "Sampleton", "CountrySubDivisionCode": region}
        address |= {"PostalCode": "94000" if company.is_us else "SA1 1AA"}
        body: Json = {"DisplayName": name, "CompanyName": name, "GivenName": given}
        body |= {"FamilyName": family, "PrimaryEmailAddr": {"Address": mail}}
        rows.append(("Customer", body | {"BillAddr": address, "ShipAddr": address}))
    for name, sku, price, text in _ITEMS:
        kind = "Service" if name == "Delivery" else "NonInventory"
        body = {"Name": name, "Sku": sku, "Description": text, "Type": kind}
        body |= {"UnitPrice": Decimal(price), "Taxable": kind != "Service"}
        rows.append(("Item", body | {"IncomeAccountRef": {"value": "1"}}))
    rows += [
        ("Vendor", {"DisplayName": "Dairy Cooperative"}),
        ("Vendor", {"DisplayName": "Bakery North"}),
        ("Employee", {"GivenName": "Rep", "FamilyName": "Seven"}),
        ("Employee", {"GivenName": "Rep", "FamilyName": "Eight"}),
        ("Class", {"Name": "Retail"}),
        ("Class", {"Name": "Catering"}),
        ("Department", {"Name": "Main Store"}),
    ]
    return rows
